package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// runtime holds the pods of this node and their processes.
type runtime struct {
	ctx                   context.Context
	folder, address, node string
	client                kubernetes.Interface

	mu         sync.Mutex
	pods       map[types.UID]*podWorker
	containers map[string]*container // by container id, also those that ended, until their pod goes
}

func newRuntime(ctx context.Context, folder, address, node string, client kubernetes.Interface) *runtime {
	return &runtime{
		ctx: ctx, folder: folder, address: address, node: node, client: client,
		pods: map[types.UID]*podWorker{}, containers: map[string]*container{},
	}
}

// watchPods follows the pods bound to this node until ctx ends.
func (r *runtime) watchPods(ctx context.Context) {
	source := cache.NewListWatchFromClient(r.client.CoreV1().RESTClient(), "pods", core.NamespaceAll,
		fields.OneTermEqualSelector("spec.nodeName", r.node))
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source,
		ObjectType:    &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { r.observe(object.(*core.Pod)) },
			UpdateFunc: func(_, object any) { r.observe(object.(*core.Pod)) },
			DeleteFunc: func(object any) {
				if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
					object = last.Obj
				}
				if pod, ok := object.(*core.Pod); ok {
					r.forget(pod.UID)
				}
			},
		},
	})
	controller.RunWithContext(ctx)
}

func (r *runtime) observe(pod *core.Pod) {
	r.mu.Lock()
	worker, known := r.pods[pod.UID]
	ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
	if !known && ended && pod.DeletionTimestamp == nil {
		r.mu.Unlock()
		return
	}
	if !known {
		worker = newPodWorker(r, pod)
		r.pods[pod.UID] = worker
		if pod.DeletionTimestamp == nil {
			go worker.run()
		}
	}
	r.mu.Unlock()
	worker.observe(pod)
}

// forget ends a pod whose object is gone already (deleted with grace period 0).
func (r *runtime) forget(uid types.UID) {
	r.mu.Lock()
	worker := r.pods[uid]
	r.mu.Unlock()
	if worker != nil {
		go worker.end(0)
	}
}

func (r *runtime) remove(worker *podWorker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pods, worker.pod.UID)
	for _, c := range worker.all() {
		delete(r.containers, c.id)
	}
}

func (r *runtime) add(c *container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.containers[c.id] = c
}

func (r *runtime) container(id string) (*container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.containers[id]
	return c, ok
}

func (r *runtime) pod(namespace, name string) (*podWorker, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, worker := range r.pods {
		if worker.pod.Namespace == namespace && worker.pod.Name == name {
			return worker, true
		}
	}
	return nil, false
}

func (r *runtime) list() []*podWorker {
	r.mu.Lock()
	defer r.mu.Unlock()
	workers := make([]*podWorker, 0, len(r.pods))
	for _, worker := range r.pods {
		workers = append(workers, worker)
	}
	return workers
}

func (r *runtime) stopAll() {
	var ending sync.WaitGroup
	for _, worker := range r.list() {
		ending.Go(func() { worker.end(0) })
	}
	ending.Wait()
}

// podWorker runs one pod: init containers in turn, then the others, restarted as its policy says.
type podWorker struct {
	runtime *runtime
	pod     *core.Pod // as first seen; only its spec's ephemeral containers can change
	folder  string
	started meta.Time

	mu         sync.Mutex
	current    map[string]*container // latest by container name
	previous   map[string]*container
	failures   map[string]string // why a container could not start
	ephemeral  []core.EphemeralContainer
	ending     bool
	deleting   sync.Once
	stopped    chan struct{}
	dirty      chan struct{}
	initsEnded bool
}

func newPodWorker(r *runtime, pod *core.Pod) *podWorker {
	w := &podWorker{
		runtime: r, pod: pod.DeepCopy(), started: meta.Now(),
		folder:  filepath.Join(r.folder, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID)),
		current: map[string]*container{}, previous: map[string]*container{}, failures: map[string]string{},
		stopped: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
	go w.report()
	return w
}

// observe takes what may change in a bound pod: its deletion, and new ephemeral containers.
func (w *podWorker) observe(pod *core.Pod) {
	if pod.DeletionTimestamp != nil {
		w.deleting.Do(func() { go w.delete(pod) })
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wanted := range pod.Spec.EphemeralContainers[min(len(w.ephemeral), len(pod.Spec.EphemeralContainers)):] {
		w.ephemeral = append(w.ephemeral, wanted)
		go w.keep(core.Container(wanted.EphemeralContainerCommon), core.RestartPolicyNever)
	}
}

func (w *podWorker) run() {
	for _, spec := range w.pod.Spec.InitContainers {
		policy := core.RestartPolicyOnFailure
		if w.pod.Spec.RestartPolicy == core.RestartPolicyNever {
			policy = core.RestartPolicyNever
		}
		if spec.RestartPolicy != nil && *spec.RestartPolicy == core.ContainerRestartPolicyAlways {
			go w.keep(spec, core.RestartPolicyAlways) // a sidecar
			continue
		}
		if code := w.keep(spec, policy); code != 0 {
			w.touch()
			return
		}
	}
	w.mu.Lock()
	w.initsEnded = true
	w.mu.Unlock()
	for _, spec := range w.pod.Spec.Containers {
		go w.keep(spec, w.pod.Spec.RestartPolicy)
	}
}

// keep runs a container until its restart policy is satisfied or the pod ends, and returns its last exit code.
func (w *podWorker) keep(spec core.Container, policy core.RestartPolicy) int32 {
	delay := time.Second
	for restarts := int32(0); ; restarts++ {
		code := w.once(spec, restarts)
		w.touch()
		again := policy == core.RestartPolicyAlways || (policy == core.RestartPolicyOnFailure && code != 0)
		if !again {
			return code
		}
		select {
		case <-w.stopped:
			return code
		case <-time.After(delay):
		}
		delay = min(2*delay, 30*time.Second)
	}
}

func (w *podWorker) once(spec core.Container, restarts int32) int32 {
	c := &container{
		id: fmt.Sprintf("%s-%s-%d", w.pod.UID, spec.Name, restarts), name: spec.Name, pod: w.pod, spec: spec,
		folder: filepath.Join(w.folder, spec.Name), restarts: restarts, done: make(chan struct{}),
	}
	c.logPath = filepath.Join(w.folder, fmt.Sprintf("%s.%d.log", spec.Name, restarts))
	w.mu.Lock()
	if w.ending {
		w.mu.Unlock()
		return 137
	}
	err := c.start(w.environment(spec))
	if err != nil {
		w.failures[spec.Name] = err.Error()
		w.mu.Unlock()
		return 128
	}
	delete(w.failures, spec.Name)
	if last := w.current[spec.Name]; last != nil {
		w.previous[spec.Name] = last
	}
	w.current[spec.Name] = c
	w.mu.Unlock()
	w.runtime.add(c)
	w.touch()
	<-c.done
	code, _ := c.exit()
	return code
}

// end stops every process of the pod and removes its folder.
func (w *podWorker) end(grace time.Duration) {
	w.mu.Lock()
	if w.ending {
		w.mu.Unlock()
		return
	}
	w.ending = true
	close(w.stopped)
	w.mu.Unlock()
	var stopping sync.WaitGroup
	for _, c := range w.all() {
		stopping.Go(func() { c.stop(grace) })
	}
	stopping.Wait()
	w.runtime.remove(w)
	_ = os.RemoveAll(w.folder)
}

// delete is the graceful end: stop, then take the object away as a kubelet does.
func (w *podWorker) delete(pod *core.Pod) {
	grace := 30 * time.Second
	if seconds := pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	w.end(grace)
	now, uid := int64(0), pod.UID
	err := w.runtime.client.CoreV1().Pods(pod.Namespace).Delete(w.runtime.ctx, pod.Name, meta.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &meta.Preconditions{UID: &uid},
	})
	if err != nil && w.runtime.ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "node: delete pod %s/%s: %v\n", pod.Namespace, pod.Name, err)
	}
}

func (w *podWorker) all() []*container {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*container
	for _, generation := range []map[string]*container{w.current, w.previous} {
		for _, c := range generation {
			all = append(all, c)
		}
	}
	return all
}

// latest is the container's running or last process; `previous` asks for the one before.
func (w *podWorker) latest(name string, previous bool) (*container, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if previous {
		c, ok := w.previous[name]
		return c, ok
	}
	c, ok := w.current[name]
	return c, ok
}

// environment is what the spec names in so many words, plus what a shell needs. Values from other objects are not read.
func (w *podWorker) environment(spec core.Container) []string {
	self, _ := os.Executable()
	all := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.folder, spec.Name), "HOSTNAME=" + w.pod.Name,
		"NODE_BINARY=" + self, "TERM=xterm",
	}
	for _, variable := range spec.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil && from.FieldRef != nil {
			value = w.field(from.FieldRef.FieldPath)
		}
		all = append(all, variable.Name+"="+value)
	}
	return all
}

func (w *podWorker) field(path string) string {
	switch path {
	case "metadata.name":
		return w.pod.Name
	case "metadata.namespace":
		return w.pod.Namespace
	case "metadata.uid":
		return string(w.pod.UID)
	case "spec.nodeName":
		return w.pod.Spec.NodeName
	case "spec.serviceAccountName":
		return w.pod.Spec.ServiceAccountName
	case "status.podIP", "status.hostIP":
		return w.runtime.address
	default:
		return ""
	}
}
