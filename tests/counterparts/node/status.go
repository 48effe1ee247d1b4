package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// touch asks for a status report; several touches may share one.
func (w *podWorker) touch() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

func (w *podWorker) report() {
	w.touch()
	for {
		select {
		case <-w.stopped:
			return
		case <-w.dirty:
			if err := w.patch(); err != nil && !apierrors.IsNotFound(err) && w.runtime.ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "node: status of pod %s/%s: %v\n", w.pod.Namespace, w.pod.Name, err)
				time.AfterFunc(time.Second, w.touch)
			}
		}
	}
}

func (w *podWorker) patch() error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": w.pod.UID},
		"status":   w.status(),
	})
	if err != nil {
		return err
	}
	_, err = w.runtime.client.CoreV1().Pods(w.pod.Namespace).
		Patch(w.runtime.ctx, w.pod.Name, types.MergePatchType, body, meta.PatchOptions{}, "status")
	return err
}

func (w *podWorker) status() core.PodStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := core.PodStatus{
		HostIP: w.runtime.address, HostIPs: []core.HostIP{{IP: w.runtime.address}},
		PodIP: w.runtime.address, PodIPs: []core.PodIP{{IP: w.runtime.address}},
		StartTime: &w.started,
	}
	for _, spec := range w.pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, w.containerStatus(spec))
	}
	for _, spec := range w.pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, w.containerStatus(spec))
	}
	for _, ephemeral := range w.ephemeral {
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses,
			w.containerStatus(core.Container(ephemeral.EphemeralContainerCommon)))
	}
	status.Phase = phase(w.pod.Spec.RestartPolicy, status)
	ready := status.Phase == core.PodRunning
	for _, one := range status.ContainerStatuses {
		ready = ready && one.Ready
	}
	status.Conditions = []core.PodCondition{
		w.condition(core.PodReadyToStartContainers, true),
		w.condition(core.PodInitialized, w.initsEnded),
		w.condition(core.PodReady, ready),
		w.condition(core.ContainersReady, ready),
		w.condition(core.PodScheduled, true),
	}
	return status
}

func (w *podWorker) condition(kind core.PodConditionType, holds bool) core.PodCondition {
	value := core.ConditionFalse
	if holds {
		value = core.ConditionTrue
	}
	return core.PodCondition{Type: kind, Status: value, LastTransitionTime: meta.Now()}
}

func (w *podWorker) containerStatus(spec core.Container) core.ContainerStatus {
	status := core.ContainerStatus{Name: spec.Name, Image: spec.Image, ImageID: "local/" + spec.Image}
	c := w.current[spec.Name]
	switch {
	case w.failures[spec.Name] != "":
		status.State.Waiting = &core.ContainerStateWaiting{Reason: "RunContainerError", Message: w.failures[spec.Name]}
		return status
	case c == nil:
		status.State.Waiting = &core.ContainerStateWaiting{Reason: "PodInitializing"}
		return status
	}
	status.ContainerID, status.RestartCount = "local://"+c.id, c.restarts
	if c.running() {
		started := true
		status.Ready, status.Started = true, &started
		status.State.Running = &core.ContainerStateRunning{StartedAt: meta.NewTime(c.startedAt)}
	} else {
		status.State.Terminated = terminated(c)
	}
	if before := w.previous[spec.Name]; before != nil && !before.running() {
		status.LastTerminationState.Terminated = terminated(before)
	}
	return status
}

func terminated(c *container) *core.ContainerStateTerminated {
	code, finished := c.exit()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return &core.ContainerStateTerminated{
		ExitCode: code, Reason: reason, ContainerID: "local://" + c.id,
		StartedAt: meta.NewTime(c.startedAt), FinishedAt: meta.NewTime(finished),
	}
}

// phase follows the kubelet's rule: pending until something ran, ended when nothing will run again.
func phase(policy core.RestartPolicy, status core.PodStatus) core.PodPhase {
	for _, one := range status.InitContainerStatuses {
		switch ended := one.State.Terminated; {
		case one.State.Waiting != nil:
			return core.PodPending
		case ended != nil && ended.ExitCode != 0 && policy == core.RestartPolicyNever:
			return core.PodFailed
		}
	}
	failed, waiting := false, false
	for _, one := range status.ContainerStatuses {
		switch {
		case one.State.Running != nil:
			return core.PodRunning
		case one.State.Waiting != nil:
			waiting = true
		default:
			failed = failed || one.State.Terminated.ExitCode != 0
		}
	}
	again := policy == core.RestartPolicyAlways || (policy == core.RestartPolicyOnFailure && failed)
	switch {
	case waiting:
		return core.PodPending
	case again:
		return core.PodRunning
	case failed:
		return core.PodFailed
	default:
		return core.PodSucceeded
	}
}
