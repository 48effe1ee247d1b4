// Does what programs on the official JavaScript client do to a cluster; the commands of ../python, in the same words.
//
// Standard output and error are the pod's, byte for byte, and the exit code is the command's; 1 for anything else, with the
// reason on standard error. The streams are WebSockets of the newest protocol version that the server takes.
//
//   client.mjs [--namespace NS] COMMAND ...
//     exec [--stdin] [--tty COLSxROWS] POD CONTAINER -- WORDS...
//     attach [--stdin] POD CONTAINER
//     portforward POD PORT
//     logs [--follow] POD CONTAINER
//     watch CONFIGMAP
//     proxy POD:PORT PATH

import { PassThrough } from 'node:stream';
import { Attach, CoreV1Api, Exec, KubeConfig, Log, PortForward, Watch } from '@kubernetes/client-node';

/** Flags and places; what stands behind `--` is the command. */
function parse(words) {
  const options = { namespace: 'default', places: [], words: [] };
  while (words.length > 0) {
    const word = words.shift();
    if (word === '--') {
      options.words = words.splice(0);
    } else if (word === '--namespace' || word === '--tty') {
      options[word.slice(2)] = words.shift();
    } else if (word.startsWith('--')) {
      options[word.slice(2)] = true;
    } else {
      options.places.push(word);
    }
  }
  return options;
}

/** Standard output, with the size of a terminal where one is asked for. */
function output(options) {
  const stdout = new PassThrough();
  if (options.tty) {
    const [columns, rows] = options.tty.split('x').map(Number);
    Object.assign(stdout, { columns, rows });
  }
  stdout.on('data', (piece) => process.stdout.write(piece));
  return stdout;
}

function errors() {
  const stderr = new PassThrough();
  stderr.on('data', (piece) => process.stderr.write(piece));
  return stderr;
}

/** All of our own input, which then stays open: whether an end of it can be said depends on the protocol. */
async function input(options) {
  if (!options.stdin) {
    return null;
  }
  const stdin = new PassThrough();
  for await (const piece of process.stdin) {
    stdin.write(piece);
  }
  return stdin;
}

function exitCode(status) {
  if (status.status === 'Success') {
    return 0;
  }
  const cause = status.details?.causes?.find((one) => one.reason === 'ExitCode');
  if (!cause) {
    process.stderr.write(`${status.message}\n`);
  }
  return cause ? Number(cause.message) : 1;
}

function closed(socket) {
  return new Promise((resolve, reject) => {
    socket.on('close', resolve);
    socket.on('error', reject);
  });
}

async function exec(config, options) {
  const [pod, container] = options.places;
  let code = 1;
  const told = (status) => { code = exitCode(status); };
  const streams = [output(options), options.tty ? null : errors(), await input(options)];
  const socket = await new Exec(config)
    .exec(options.namespace, pod, container, options.words, ...streams, Boolean(options.tty), told);
  await closed(socket);
  return code;
}

async function attach(config, options) {
  const [pod, container] = options.places;
  const streams = [output(options), errors(), await input(options)];
  const socket = await new Attach(config).attach(options.namespace, pod, container, ...streams, false);
  await closed(socket);
  return 0;
}

async function portforward(config, options) {
  const [pod, port] = options.places;
  const said = errors();
  const stdin = await input({ ...options, stdin: true });
  const socket = await new PortForward(config)
    .portForward(options.namespace, pod, [Number(port)], output(options), said, stdin);
  await closed(socket);
  return 0;
}

async function logs(config, options) {
  const [pod, container] = options.places;
  const stdout = output(options);
  const ended = new Promise((resolve, reject) => stdout.on('end', resolve).on('error', reject));
  await new Log(config).log(options.namespace, pod, container, stdout, { follow: options.follow === true });
  await ended;
  return 0;
}

async function watch(config, options) {
  const query = { fieldSelector: `metadata.name=${options.places[0]}`, timeoutSeconds: 5 };
  const seen = (type, found) => {
    const { name, uid, resourceVersion } = found.metadata;
    console.log(type, name, uid, resourceVersion, found.data?.k ?? '');
  };
  return new Promise((resolve, reject) => {
    const ended = (error) => (error ? reject(error) : resolve(0));
    new Watch(config)
      .watch(`/api/v1/namespaces/${options.namespace}/configmaps`, query, seen, ended)
      .catch(reject);
  });
}

async function proxy(config, options) {
  const [name, path] = options.places;
  const asked = { name, path, namespace: options.namespace };
  process.stdout.write(await config.makeApiClient(CoreV1Api).connectGetNamespacedPodProxyWithPath(asked));
  return 0;
}

const COMMANDS = { exec, attach, portforward, logs, watch, proxy };

async function main() {
  const options = parse(process.argv.slice(2));
  const command = COMMANDS[options.places.shift()];
  const config = new KubeConfig();
  config.loadFromDefault();
  try {
    return await command(config, options);
  } catch (refused) {
    // A refused upgrade is an event of the socket, anything else an answer.
    console.error(refused.code ?? '', refused.message ?? refused);
    return 1;
  }
}

const code = await main();
// What was said has to be gone before the process is.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
