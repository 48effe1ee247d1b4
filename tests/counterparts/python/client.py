"""Does what programs on the official Python client do to a cluster; the commands of ../clientgo, without its protocols.

Standard output and error are the pod's, byte for byte, and the exit code is the command's; 1 for anything else, with the
reason on standard error. The streams are WebSockets of the fourth protocol version, which cannot say that standard input
has ended: a command that waits for that never ends.

  client.py [--namespace NS] COMMAND ...
    exec [--stdin] [--tty COLSxROWS] POD CONTAINER -- WORDS...
    attach [--stdin] POD CONTAINER
    portforward POD PORT
    logs [--follow] POD CONTAINER
    watch CONFIGMAP
    proxy POD:PORT PATH
"""

import argparse
import json
import sys

from kubernetes import client, config, watch
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import RESIZE_CHANNEL

CHUNK = 64 * 1024


def pass_on(session):
    """What has come so far, to our own outputs; whether there was something."""
    any_came = False
    for peek, read, to in (
        (session.peek_stdout, session.read_stdout, sys.stdout.buffer),
        (session.peek_stderr, session.read_stderr, sys.stderr.buffer),
    ):
        if peek():
            to.write(read())
            to.flush()
            any_came = True
    return any_came


def converse(session, stdin):
    """Both directions until the server closes; the command's exit code."""
    text = sys.stdin.buffer.read() if stdin else b""
    for start in range(0, len(text), CHUNK):
        session.write_stdin(text[start : start + CHUNK])
        # Whoever only sends while the other side waits to be read waits for ever.
        while pass_on(session):
            pass
    while session.is_open():
        session.update(timeout=1)
        pass_on(session)
    pass_on(session)
    return session.returncode


def run_exec(api, options):
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    session = stream(
        api.connect_get_namespaced_pod_exec,
        options.pod,
        options.namespace,
        container=options.container,
        command=words,
        stdin=options.stdin,
        stdout=True,
        stderr=not options.tty,
        tty=bool(options.tty),
        binary=True,
        _preload_content=False,
    )
    if options.tty:
        columns, rows = options.tty.split("x")
        session.write_channel(RESIZE_CHANNEL, json.dumps({"Width": int(columns), "Height": int(rows)}))
    return converse(session, options.stdin)


def run_attach(api, options):
    session = stream(
        api.connect_get_namespaced_pod_attach,
        options.pod,
        options.namespace,
        container=options.container,
        stdin=options.stdin,
        stdout=True,
        stderr=True,
        tty=False,
        binary=True,
        _preload_content=False,
    )
    return converse(session, options.stdin)


def run_portforward(api, options):
    forward = portforward(
        api.connect_get_namespaced_pod_portforward, options.pod, options.namespace, ports=str(options.port)
    )
    joined = forward.socket(options.port)
    joined.setblocking(True)
    joined.sendall(sys.stdin.buffer.read())
    while answer := joined.recv(CHUNK):
        sys.stdout.buffer.write(answer)
    reason = forward.error(options.port)
    if reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


def run_logs(api, options):
    log = api.read_namespaced_pod_log(
        options.pod,
        options.namespace,
        container=options.container,
        follow=options.follow,
        _preload_content=False,
    )
    for part in log.stream():
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    return 0


def run_watch(api, options):
    events = watch.Watch().stream(
        api.list_namespaced_config_map,
        options.namespace,
        field_selector=f"metadata.name={options.name}",
        timeout_seconds=5,
    )
    for event in events:
        found = event["object"]
        meta = found.metadata
        print(event["type"], meta.name, meta.uid, meta.resource_version, (found.data or {}).get("k", ""))
    return 0


def run_proxy(api, options):
    answer = api.connect_get_namespaced_pod_proxy_with_path(
        options.pod, options.namespace, options.path, _preload_content=False
    )
    sys.stdout.buffer.write(answer.data)
    return 0


def parser():
    top = argparse.ArgumentParser(prog="client.py")
    top.add_argument("--namespace", default="default")
    commands = top.add_subparsers(required=True)

    def command(name, run, *places):
        one = commands.add_parser(name)
        one.set_defaults(run=run)
        for place in places:
            one.add_argument(place)
        return one

    run = command("exec", run_exec, "pod", "container")
    run.add_argument("--stdin", action="store_true")
    run.add_argument("--tty")
    run.add_argument("words", nargs=argparse.REMAINDER)
    command("attach", run_attach, "pod", "container").add_argument("--stdin", action="store_true")
    command("portforward", run_portforward, "pod").add_argument("port", type=int)
    command("logs", run_logs, "pod", "container").add_argument("--follow", action="store_true")
    command("watch", run_watch, "name")
    command("proxy", run_proxy, "pod", "path")
    return top


def main():
    options = parser().parse_args()
    config.load_kube_config()
    try:
        return options.run(client.CoreV1Api(), options)
    except client.ApiException as refused:
        # A refused upgrade has status, head and body of the answer in one line; the head has the hour in it.
        status, *rest = (refused.reason or "").split(" -+-+- ")
        print(refused.status, status, rest[-1] if rest else refused.body, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
