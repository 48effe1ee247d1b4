package main

import (
	"context"
	"fmt"
	"io"
	"os"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

func (c *caller) logs(ctx context.Context, pod, container string, follow bool) error {
	options := &core.PodLogOptions{Container: container, Follow: follow}
	body, err := c.client.CoreV1().Pods(c.namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(os.Stdout, body)
	return err
}

// watch prints each event of one ConfigMap that is there when it begins, until the server ends the watch after five seconds.
func (c *caller) watch(ctx context.Context, name string) error {
	seconds := int64(5)
	options := meta.ListOptions{
		FieldSelector:  fields.OneTermEqualSelector("metadata.name", name).String(),
		TimeoutSeconds: &seconds,
	}
	watching, err := c.client.CoreV1().ConfigMaps(c.namespace).Watch(ctx, options)
	if err != nil {
		return err
	}
	defer watching.Stop()
	for event := range watching.ResultChan() {
		object, ok := event.Object.(*core.ConfigMap)
		if !ok {
			return apierrors.FromObject(event.Object)
		}
		fmt.Println(event.Type, object.Name, object.UID, object.ResourceVersion, object.Data["k"])
	}
	return nil
}

func (c *caller) proxy(ctx context.Context, pod, path string) error {
	answer, err := c.client.CoreV1().RESTClient().Get().
		Namespace(c.namespace).Resource("pods").Name(pod).SubResource("proxy").Suffix(path).DoRaw(ctx)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer)
	return err
}
