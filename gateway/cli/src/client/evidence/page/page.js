"use strict";
// Reads the data of this page, shows what stands in them, and checks them. Asks nobody. Whatever stands in a record is put on the page
// as text and never as markup, and what could move text about in it is shown by its number.
(() => {
const $ = (id) => document.getElementById(id);
const own = document.currentScript;
const encoder = new TextEncoder();
const subtle = globalThis.crypto?.subtle;
const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
// There is one way to write bytes: what is written otherwise was changed, be the bytes the same.
const bytesOf = (base64) => {
  const text = atob(base64);
  if (btoa(text) !== base64) throw new Error("it is not written as base64 is");
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
};
const hexOf = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const join = (...pieces) => {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  return all;
};
const sha256 = async (bytes) => new Uint8Array(await subtle.digest("SHA-256", bytes));
const ZERO = new Uint8Array([0]);
const ONE = new Uint8Array([1]);

const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = plain(text);
  if (className) made.className = className;
  return made;
};
const facts = (list, pairs) => {
  for (const [name, value, className] of pairs) list.append(element("dt", name), element("dd", value, className));
};
const number = (text) => {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) throw new Error("a number is expected");
  return BigInt(text);
};

// ---- the data ----

function read(text) {
  const lines = text.replace(/^\n/, "").split("\n");
  let at = 0;
  const line = (name) => {
    const found = lines[at++] ?? "";
    if (!found.startsWith(name + " ")) throw new Error("line " + at + " of the data is not `" + name + "`");
    return found.slice(name.length + 1);
  };
  if (lines[at++] !== "gatescribe.dev/evidence@v1") throw new Error("the data begin with another line than this page knows");
  const statement = bytesOf(line("statement"));
  const told = line("told");
  const noteIn = (name) => readNote(new TextDecoder("utf-8", { fatal: true }).decode(bytesOf(line(name))));
  const note = noteIn("checkpoint");
  const changes = [];
  while ((lines[at] ?? "").startsWith("change ")) {
    const change = noteIn("change");
    if (changes.some((older) => older.size > change.size || older.text === change.text)) throw new Error("line " + at + " of the data is a change of the key that stands twice, or behind a later one");
    changes.push(change);
  }
  const records = [];
  while (!(lines[at] ?? "").startsWith("end ")) {
    const where = at + 1;
    try {
      const [seq, leaf, ...path] = line("record").split(" ");
      records.push({ seq: number(seq), leaf: bytesOf(leaf), path: path.map(bytesOf) });
    } catch (error) {
      throw new Error("line " + where + " of the data is no record: " + error.message);
    }
  }
  if (number(line("end")) !== BigInt(records.length)) throw new Error("another number of records stands in the data than their last line says");
  if (lines.length !== at + 1 || lines[at] !== "") throw new Error("the data do not end behind `end`");
  for (let i = 1; i < records.length; i++) {
    if (records[i].seq <= records[i - 1].seq) throw new Error("record " + records[i].seq + " does not stand behind one with a smaller number");
  }
  return { statement, told: told === "-" ? null : number(told), note, changes, records };
}

function readNote(whole) {
  const cut = whole.lastIndexOf("\n\n");
  if (cut < 0 || !whole.endsWith("\n")) throw new Error("the checkpoint is no signed note");
  const text = whole.slice(0, cut + 1);
  const [origin, size, root] = text.split("\n");
  const signatures = whole.slice(cut + 2, -1).split("\n").map((line) => {
    const [dash, name, value, more] = line.split(" ");
    if (dash !== "\u2014" || !value || more !== undefined) throw new Error("the checkpoint has a line that is no signature");
    const bytes = bytesOf(value);
    return { name, id: hexOf(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  return { text, origin, size: number(size), root: bytesOf(root), signatures };
}

const json = (bytes) => {
  try { return JSON.parse(new TextDecoder().decode(bytes)); } catch { return null; }
};

const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isNumbers = (list) => Array.isArray(list) && list.every(isCount);
const maybe = (is) => (value) => value === undefined || is(value);
const isOf = (members) => (value) => value !== null && typeof value === "object"
  && Object.keys(value).every((name) => Object.hasOwn(members, name)) && Object.entries(members).every(([name, is]) => is(value[name]));
const isStatement = isOf({
  v: (v) => v === 1, made: isText, tool: isText, query: isText, from: maybe(isText), to: isText, scope: isText, subject: maybe(isText),
  read: maybe(isOf({ first: isCount, end: isCount, within: isCount })),
  acts: isOf({ range: isCount, matched: isCount, packed: isCount }),
  sample: maybe(isOf({ size: isCount, seed: isText, population: isNumbers })),
  records: (acts) => Array.isArray(acts) && acts.every((act) => isNumbers(act) && act.length > 0),
});

// What is no statement of this form is none: what follows relies on it.
function statementOf(bytes) {
  const read = json(bytes);
  return isStatement(read) ? read : null;
}

// ---- the checks ----

// RFC 9162 §2.1.3.2.
async function isIncluded(record, size, root) {
  let at = record.seq;
  let last = size - 1n;
  if (at > last) return false;
  let hash = await sha256(join(ZERO, record.leaf));
  for (const other of record.path) {
    if (last === 0n) return false;
    if (at & 1n || at === last) {
      hash = await sha256(join(ONE, other, hash));
      while (!(at & 1n) && at !== 0n) { at >>= 1n; last >>= 1n; }
    } else {
      hash = await sha256(join(ONE, hash, other));
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && same(hash, root);
}

async function drawn(sample) {
  const ranked = [];
  for (const seq of sample.population) {
    const hash = await sha256(encoder.encode("gatescribe.dev/evidence sample v1\n" + sample.seed + "\n" + seq));
    ranked.push([hexOf(hash), seq]);
  }
  ranked.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return ranked.slice(0, sample.size).map((pair) => pair[1]).sort((a, b) => a - b);
}

const isRising = (list) => list.every((seq, at) => at === 0 || list[at - 1] < seq);

async function countFaults(statement) {
  const faults = [];
  const acts = statement.acts;
  const firsts = statement.records.map((act) => act[0]);
  const population = statement.sample ? statement.sample.population.length : firsts.length;
  const all = statement.records.flat();
  if (!isRising(firsts) || !statement.records.every(isRising) || new Set(all).size !== all.length) {
    faults.push("statement: the records of the acts are not in order, each once");
  }
  if (!(statement.scope === "all" ? statement.subject === undefined : statement.scope === "own" && statement.subject !== undefined)) {
    faults.push("statement: it does not say whose records were looked at");
  }
  if (acts.packed !== firsts.length) faults.push("statement: another number of acts is here than it says");
  if (acts.matched !== population) faults.push("statement: another number of acts matched than it lists");
  if (acts.range < acts.matched) faults.push("statement: more acts matched than were in the range");
  if (statement.sample && !(isRising(statement.sample.population) && String(await drawn(statement.sample)) === String(firsts))) {
    faults.push("statement: the sample is not the one that the seed draws from the population");
  }
  const span = statement.read;
  const listed = [...all, ...(statement.sample?.population ?? [])];
  if (span && !(span.first <= span.end && span.within <= span.end - span.first && listed.every((seq) => span.first <= seq && seq < span.end))) {
    faults.push("statement: a record is listed that is not among those that were read");
  }
  return faults;
}

async function toldFault(data, statement) {
  const record = data.records.find((one) => one.seq === data.told);
  const leaf = record && json(record.leaf);
  const note = String(leaf?.note ?? "");
  if (leaf?.kind !== "auditread" || !note.startsWith("packed ")) {
    return "statement: record " + data.told + " is not the gateway’s record of making it";
  }
  if (note.endsWith("statement sha256:" + hexOf(await sha256(data.statement)))) return null;
  let what = "its counts, its bounds, its sample or its list of records are";
  if (!note.includes(" for `" + statement.query)) what = "the query is";
  else if (!note.includes("packed " + statement.acts.packed + " acts")) what = "the number of acts is";
  return "statement: " + what + " not what record " + data.told + " of the ledger says was packed";
}

// A verifier key: NAME+ID+BASE64(algorithm, key). C2SP signed-note.
async function readKey(text) {
  const [name, id, ...rest] = text.split("+");
  const bytes = bytesOf(rest.join("+"));
  const hash = await sha256(join(encoder.encode(name + "\n"), bytes));
  if (!name || bytes.length !== 33 || hexOf(hash.slice(0, 4)) !== id?.toLowerCase()) throw new Error("is no public key `NAME+ID+KEY`");
  return { name, id: id.toLowerCase(), algorithm: bytes[0], bytes: bytes.slice(1) };
}

async function checkSignature(note, key) {
  const found = note.signatures.filter((one) => one.name === key.name && one.id === key.id);
  if (!found.length) return "absent";
  let imported;
  try {
    imported = await subtle.importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return "unable";
  }
  for (const { bytes } of found) {
    // A cosignature is a time and a signature.
    if (key.algorithm === 4 && bytes.length !== 72) return "wrong";
    let signed = note.text;
    let signature = bytes;
    if (key.algorithm === 4) {
      const time = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
      signed = "cosignature/v1\ntime " + time + "\n" + note.text;
      signature = bytes.slice(8);
    }
    if (!(await subtle.verify({ name: "Ed25519" }, imported, signature, encoder.encode(signed)))) return "wrong";
  }
  return key.algorithm === 4 ? "witnessed" : key.name === note.origin ? "signed" : "absent";
}

const isSameKey = (one, other) => one.name === other.name && one.id === other.id && same(one.bytes, other.bytes);
const shortOf = (key) => key.name + "+" + key.id;

// A change of the ledger's key: a checkpoint with one line more, which the key that signed until then and the next one have both signed.
async function changeOf(note, origin) {
  const named = /^gatescribe\.dev\/next-key (\S+) (\S+)$/.exec(note.text.split("\n")[3] ?? "");
  if (!named || note.origin !== origin) return null;
  const keys = [await readKey(named[1]), await readKey(named[2])];
  if (isSameKey(...keys)) return null;
  for (const key of keys) {
    const found = key.algorithm === 1 ? await checkSignature(note, key) : "absent";
    if (found === "unable") return found;
    if (found !== "signed") return null;
  }
  return { text: note.text, size: note.size, root: note.root, old: keys[0], next: keys[1] };
}

// The keys that these changes lead to from this one, in both directions, and whether one of the changes contradicts another.
function follow(key, changes) {
  const known = [key];
  const knows = (one) => known.some((other) => isSameKey(one, other));
  const taken = [];
  for (let ahead = [...changes]; ; ) {
    const at = ahead.findIndex((change) => knows(change.old) || knows(change.next));
    if (at < 0) return { known, taken, contradicts: false };
    const [change] = ahead.splice(at, 1);
    const other = taken.find((one) => isSameKey(one.old, change.old) || isSameKey(one.next, change.next));
    if (other && other.text !== change.text) return { known, taken, contradicts: true };
    if (other) continue;
    taken.push(change);
    for (const one of [change.old, change.next]) if (!knows(one)) known.push(one);
  }
}

// Why what these keys of a chain signed counts for nothing: others followed all of them, and who has stolen one since signs other histories of up to
// that size. Only the root that the newest key's own statement has is beyond doubt here; for others it takes a proof, which the command reads.
function whyOld(note, signers, taken, isWitnessed) {
  const endOf = (key) => taken.find((change) => isSameKey(change.old, key));
  const said = (key) => "another key followed " + shortOf(key) + " at " + endOf(key).size + " records, and ";
  const over = signers.find((key) => endOf(key) && note.size > endOf(key).size);
  if (over) return said(over) + "it signed " + note.size;
  const isStated = taken.some((change) => !endOf(change.next) && change.size === note.size && same(change.root, note.root));
  if (isWitnessed || isStated || signers.some((key) => !endOf(key))) return null;
  return said(signers[0]) + "nothing here shows that they begin with the " + note.size
    + " that it signed: who has the old key can sign others. `gatescribe evidence verify --since` takes the proof that they do";
}

// ---- the page ----

const SAYS = "BODY_HASH";

// What stands around the data, before anything is put into it: whoever rewrites the name of a control, or adds one, is seen here. Whoever
// rewrites this script as well is seen by the program alone.
async function isAsWritten() {
  let said = "";
  for (const node of document.body.childNodes) {
    if (node !== $("evidence") && node !== own) said += node.outerHTML ?? node.data;
  }
  const hash = await sha256(encoder.encode(said.replace(/[ \t\r\n\f]/g, "")));
  return btoa(String.fromCharCode(...hash)) === SAYS;
}

const state = { data: null, statement: null, changes: [], faults: [], badRecords: new Set(), goodRecords: new Set() };

function check(kind, text) {
  const line = element("li", text, "is-" + kind);
  line.prepend(element("span", { good: "Holds: ", bad: "Does not hold: ", open: "Not checked: " }[kind], "hidden"));
  $("checks").append(line);
}

function verdict(kind, text) {
  $("verdict").className = "verdict " + kind;
  $("verdict").textContent = plain(text);
}

function showFaults() {
  $("faults").replaceChildren(...state.faults.slice(0, 1000).map((fault) => element("li", fault, "is-bad")));
  $("faults-box").hidden = state.faults.length === 0;
}

const objectOf = (req) => {
  const resource = [req.resource, req.subresource].filter(Boolean).join("/");
  return [resource, req.name].filter(Boolean).join(" ");
};

function rowOf(act, bySeq) {
  const leaves = act.map((seq) => bySeq.get(BigInt(seq))).filter(Boolean).map((record) => json(record.leaf) ?? {});
  const first = leaves[0] ?? {};
  const req = first.req ?? {};
  const outcome = leaves.map((leaf) => leaf.outcome).filter(Boolean).pop() ?? {};
  const what = req.verb || req.method ? [req.verb ?? req.method, objectOf(req) || req.path].filter(Boolean).join(" ") : first.note ?? first.kind;
  const where = [first.cluster, req.namespace].filter(Boolean).join(" / ");
  const ended = [outcome.end, outcome.status].filter((part) => part !== undefined && part !== null).join(" ");
  return {
    time: first.t ?? "",
    who: first.by?.user ?? (first.kind === "refusal" ? "not signed in" : ""),
    what: what ?? "",
    where,
    from: first.net?.ip ?? "",
    outcome: ended || (first.kind ?? ""),
  };
}

function showActs() {
  const { data, statement } = state;
  const bySeq = new Map(data.records.map((record) => [record.seq, record]));
  const body = $("acts").tBodies[0];
  const acts = statement ? statement.records : data.records.map((record) => [Number(record.seq)]);
  const listed = new Set(acts.flat().map(BigInt));
  const others = data.records.filter((record) => !listed.has(record.seq)).map((record) => [Number(record.seq)]);
  for (const act of [...acts, ...others]) {
    const row = rowOf(act, bySeq);
    const tr = element("tr");
    const mark = element("span", "not checked yet", "mark is-open");
    mark.dataset.records = act.join(" ");
    const proof = element("td");
    proof.dataset.label = "Proof";
    proof.append(mark);
    tr.append(proof);
    const told = act.length === 1 && state.data.told === BigInt(act[0]);
    const cells = [["Time", row.time.replace("T", " ").replace(/\.\d+Z$/, "Z")], ["Who", row.who], ["What", told ? "the gateway’s record of making this" : row.what], ["Where", row.where], ["From", row.from], ["Outcome", row.outcome]];
    for (const [label, text] of cells) {
      const td = element("td", text);
      td.dataset.label = label;
      if (label === "What") td.append(details(act, bySeq));
      tr.append(td);
    }
    body.append(tr);
  }
}

function details(act, bySeq) {
  const made = element("details");
  made.append(element("summary", act.length === 1 ? "record " + act[0] : act.length + " records: " + act.slice(0, 6).join(", ") + (act.length > 6 ? ", …" : "")));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) {
      for (const seq of act) {
        const record = bySeq.get(BigInt(seq));
        const leaf = record && json(record.leaf);
        made.append(element("pre", record ? (leaf ? JSON.stringify(leaf, null, 1).replace(/\n */g, " ") : hexOf(record.leaf)) : "record " + seq + " is not here"));
      }
    }
  });
  return made;
}

function markActs() {
  for (const mark of document.querySelectorAll(".mark")) {
    const seqs = mark.dataset.records.split(" ").map(BigInt);
    const bad = seqs.filter((seq) => state.badRecords.has(seq));
    const all = seqs.every((seq) => state.goodRecords.has(seq));
    mark.className = "mark is-" + (bad.length ? "bad" : all ? "good" : "open");
    mark.textContent = bad.length ? "record " + bad.join(", ") : all ? "proved" : "not checked";
  }
}

function showRecordings() {
  const newest = new Map();
  for (const record of state.data.records) {
    const leaf = json(record.leaf);
    if (leaf?.recording) newest.set(leaf.id, [leaf.id, leaf.recording.hash, leaf.recording.chunks, leaf.recording.bytes, record.seq]);
  }
  const labels = ["Session", "Root", "Chunks", "Bytes", "By record"];
  for (const cells of newest.values()) {
    const tr = element("tr");
    cells.forEach((text, at) => {
      const td = element("td", text ?? "", at < 2 ? "mono" : "");
      td.dataset.label = labels[at];
      tr.append(td);
    });
    $("recordings").tBodies[0].append(tr);
  }
  $("recordings").hidden = newest.size === 0;
  $("no-recordings").hidden = newest.size !== 0;
}

function showStatement() {
  const { data, statement } = state;
  const note = data.note;
  facts($("seal"), [
    ["Ledger", note.origin, "mono"],
    ["Records under it", note.size],
    ["Root", hexOf(note.root), "mono"],
    ["Signatures, as they say", note.signatures.map((one) => one.name + "+" + one.id).join(" · "), "mono"],
  ]);
  if (!statement) return;
  const acts = statement.acts;
  const title = statement.query || "everything";
  $("headline").textContent = plain(title);
  document.title = "Evidence: " + plain(title);
  $("subline").textContent = plain(acts.packed + " of " + acts.matched + " acts that match, from " + note.origin);
  const all = statement.scope === "all";
  facts($("asked"), [
    ["Query", statement.query || "(everything)", "mono"],
    ["From", statement.from ?? "the beginning of the ledger"],
    ["To", statement.to],
    ["Among whose records", all ? "everybody’s" : "one person’s own: " + statement.subject],
    ["Acts in the range", acts.range],
    ["Acts that match", acts.matched],
    ["Acts here", acts.packed],
    ["Sample", statement.sample ? statement.sample.size + " drawn by the seed " + statement.sample.seed : "none: all that match are here"],
    ["Records that were read", statement.read ? statement.read.first + " to before " + statement.read.end + ", " + statement.read.within + " of them within the bounds in time" : "not said: only one’s own may be counted"],
    ["Made", statement.made + " by " + statement.tool],
    ["Vouched for by", data.told === null ? "nobody: it was made from files" : "record " + data.told + " of the ledger"],
  ]);
}

async function checkAll() {
  const { data, statement } = state;
  const { size, root } = data.note;
  let done = 0;
  for (const record of data.records) {
    if (await isIncluded(record, size, root)) state.goodRecords.add(record.seq);
    else {
      state.badRecords.add(record.seq);
      state.faults.push("record " + record.seq + ": it is not the record that was signed, or its proof was changed");
    }
    if (++done % 200 === 0) {
      verdict("wait", "Checking: " + done + " of " + data.records.length + " records");
      await new Promise((resume) => setTimeout(resume));
    }
  }
  const bad = state.badRecords.size;
  check(bad ? "bad" : "good", data.records.length - bad + " of " + data.records.length + " records lead to the root of the checkpoint");
  if (!statement) {
    state.faults.push("statement: it is none that this page knows");
    check("bad", "What was asked and counted cannot be read");
    return;
  }
  const named = new Set(statement.records.flat().map(BigInt));
  if (data.told !== null) named.add(data.told);
  const here = new Set(data.records.map((record) => record.seq));
  const missing = [...named].filter((seq) => !here.has(seq));
  const added = [...here].filter((seq) => !named.has(seq));
  missing.forEach((seq) => { state.badRecords.add(seq); state.faults.push("record " + seq + ": it was taken out"); });
  added.forEach((seq) => { state.badRecords.add(seq); state.faults.push("record " + seq + ": it was put in; the statement does not name it"); });
  check(missing.length + added.length ? "bad" : "good", missing.length + added.length ? "Other records are here than the statement names" : "Exactly the records are here that the statement names");
  const counts = await countFaults(statement);
  state.faults.push(...counts);
  check(counts.length ? "bad" : "good", counts.length ? "The counts, or the sample, do not follow from the rest" : statement.sample ? "The counts fit together, and the sample is the one that the seed draws" : "The counts fit together");
  if (data.told === null) {
    check("open", "That the query and the counts are true: it was made from files, and no record of the ledger says what was packed");
    return;
  }
  const told = await toldFault(data, statement);
  if (told) state.faults.push(told);
  check(told ? "bad" : "good", told ? "The query or the counts are not those that the gateway recorded" : "The query and the counts are those that record " + data.told + " of the ledger names");
}

async function checkKeys(text) {
  for (const line of document.querySelectorAll("#checks .of-key")) line.remove();
  state.faults = state.faults.filter((fault) => !fault.startsWith("checkpoint:"));
  const say = (kind, words) => { check(kind, words); $("checks").lastElementChild.classList.add("of-key"); };
  let signed = false;
  const words = text.split(/\s+/).filter(Boolean);
  let isWitnessed = false;
  for (const word of words) {
    const key = await readKey(word).catch(() => null);
    if (key && (await checkSignature(state.data.note, key)) === "witnessed") isWitnessed = true;
  }
  for (const word of words) {
    let key;
    try { key = await readKey(word); } catch { say("bad", "`" + word.slice(0, 80) + "` is no public key NAME+ID+KEY"); continue; }
    const short = shortOf(key);
    const along = follow(key, state.changes);
    let found = await checkSignature(state.data.note, key);
    let by = key;
    for (const one of found === "absent" ? along.known.slice(1) : []) {
      const other = await checkSignature(state.data.note, one);
      if (other !== "absent") [found, by] = [other, one];
    }
    const signers = [];
    for (const one of found === "signed" ? along.known : []) {
      if ((await checkSignature(state.data.note, one)) === "signed") signers.push(one);
    }
    const old = found === "signed" ? whyOld(state.data.note, signers, along.taken, isWitnessed) : null;
    if (found === "signed" && (old || along.contradicts)) {
      const why = along.contradicts ? "two changes of one key stand in this file: somebody else signs with it" : old;
      state.faults.push("checkpoint: " + why);
      say("bad", "The key that signed the checkpoint is not believed: " + why);
      continue;
    }
    signed ||= found === "signed";
    if (found === "signed" && by !== key) say("good", "The checkpoint is signed by " + shortOf(by) + ", to which changes of the ledger’s key lead from " + short + ", signed by both keys of each");
    else if (found === "signed") say("good", "The checkpoint is signed by " + short);
    else if (found === "witnessed") say("good", "The checkpoint is cosigned by the witness " + short);
    else if (found === "unable") say("open", "The signature of " + short + ": this browser has no Ed25519. `gatescribe evidence verify` checks it");
    else {
      state.faults.push("checkpoint: " + (found === "wrong" ? "the signature of " + short + " does not belong to it" : "it is not signed by " + short));
      say("bad", found === "wrong" ? "The signature of " + short + " does not belong to this checkpoint" : "The checkpoint is not signed by " + short);
    }
  }
  if (!text.trim()) say("open", "That the ledger signed this checkpoint: give its public key below");
  showFaults();
  conclude(signed);
}

function conclude(signed) {
  const bad = state.faults.length > 0 || document.querySelector("#checks .is-bad") !== null;
  const untold = state.data.told === null;
  if (bad) verdict("bad", "This evidence does not hold.");
  else if (signed && !untold) verdict("good", "Verified: every record is one that was signed, and the query and the counts are those that were recorded.");
  else if (signed) verdict("wait", "Every record is one that was signed. Nobody vouches for the query and the counts.");
  else verdict("wait", "All of it fits together. Whether the ledger signed it shows its public key.");
  document.documentElement.dataset.verdict = bad ? "bad" : !signed ? "open" : untold ? "partly" : "verified";
}

async function begin() {
  if (subtle && !(await isAsWritten())) {
    state.faults.push("page: it is not the one that `evidence pack` wrote: believe nothing that it shows");
    check("bad", "Something around the data was rewritten");
  }
  try {
    state.data = read($("evidence").textContent);
  } catch (error) {
    state.faults.push("data: " + error.message);
    verdict("bad", "This evidence does not hold: " + error.message);
    showFaults();
    document.documentElement.dataset.verdict = "bad";
    return;
  }
  state.statement = statementOf(state.data.statement);
  showStatement();
  showActs();
  showRecordings();
  if (!subtle) {
    verdict("wait", "This browser checks nothing for a page from a file. `gatescribe evidence verify` does.");
    document.documentElement.dataset.verdict = "unable";
    return;
  }
  for (const note of state.data.changes) {
    const change = await changeOf(note, state.data.note.origin).catch(() => null);
    if (!change) state.faults.push("data: what stands as a change of the ledger’s key is none that both keys signed");
    else if (change !== "unable") state.changes.push(change);
  }
  await checkAll();
  markActs();
  const given = /^#key=(.+)$/.exec(location.hash);
  // Whoever sends the link chose that key: the reader looks at it and presses the button, or takes their own.
  if (given) $("key").value = decodeURIComponent(given[1]);
  await checkKeys("");
}

function broken(error) {
  verdict("bad", "This evidence does not hold: it cannot be read to its end. " + error.message);
  document.documentElement.dataset.verdict = "bad";
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.data && subtle) checkKeys($("key").value).catch(broken);
});
// All of the page is there by then, and nothing of it was touched.
document.addEventListener("DOMContentLoaded", () => {
  begin().catch(broken);
});
})();
