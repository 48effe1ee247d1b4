package main

import (
	"context"
	"fmt"
	"os"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	leaseNamespace = "kube-node-lease"
	leaseSeconds   = 40
	heartbeatEvery = 10 * time.Second
)

// node keeps the Node object and its lease alive; without the lease the controller manager would evict the pods.
type node struct {
	name, address string
	port          int
	client        kubernetes.Interface
}

func newNode(name, address string, port int, client kubernetes.Interface) *node {
	return &node{name: name, address: address, port: port, client: client}
}

// register makes the Node, or renews the status of one that is there, and takes its lease.
func (n *node) register(ctx context.Context) error {
	object := &core.Node{ObjectMeta: meta.ObjectMeta{
		Name:   n.name,
		Labels: map[string]string{core.LabelHostname: n.name, core.LabelOSStable: "linux"},
	}}
	nodes := n.client.CoreV1().Nodes()
	created, err := nodes.Create(ctx, object, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		created, err = nodes.Get(ctx, n.name, meta.GetOptions{})
	}
	if err != nil {
		return err
	}
	created.Status = n.status()
	if _, err := nodes.UpdateStatus(ctx, created, meta.UpdateOptions{}); err != nil {
		return err
	}
	return n.renew(ctx)
}

func (n *node) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := n.renew(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "node: renew the lease:", err)
			}
		}
	}
}

func (n *node) renew(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(leaseNamespace)
	seconds, now := int32(leaseSeconds), meta.NewMicroTime(time.Now())
	lease, err := leases.Get(ctx, n.name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordination.Lease{
			ObjectMeta: meta.ObjectMeta{Name: n.name, Namespace: leaseNamespace},
			Spec: coordination.LeaseSpec{
				HolderIdentity: &n.name, LeaseDurationSeconds: &seconds, RenewTime: &now,
			},
		}, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, meta.UpdateOptions{})
	return err
}

func (n *node) status() core.NodeStatus {
	now := meta.Now()
	condition := func(kind core.NodeConditionType, value core.ConditionStatus, reason string) core.NodeCondition {
		return core.NodeCondition{
			Type: kind, Status: value, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now,
		}
	}
	room := core.ResourceList{
		core.ResourceCPU:    resource.MustParse("64"),
		core.ResourceMemory: resource.MustParse("256Gi"),
		core.ResourcePods:   resource.MustParse("1000"),
	}
	return core.NodeStatus{
		Capacity:    room,
		Allocatable: room,
		Addresses: []core.NodeAddress{
			{Type: core.NodeInternalIP, Address: n.address},
			{Type: core.NodeHostName, Address: n.address},
		},
		DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: int32(n.port)}},
		NodeInfo:        core.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64"},
		Conditions: []core.NodeCondition{
			condition(core.NodeReady, core.ConditionTrue, "StandInReady"),
			condition(core.NodeMemoryPressure, core.ConditionFalse, "StandInHasRoom"),
			condition(core.NodeDiskPressure, core.ConditionFalse, "StandInHasRoom"),
			condition(core.NodePIDPressure, core.ConditionFalse, "StandInHasRoom"),
		},
	}
}
