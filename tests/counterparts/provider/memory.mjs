// Storage of the provider, outside of it: a key rotation builds a new Provider on the same storage,
// so codes, sessions and refresh tokens survive the change of keys.

export function createMemory() {
  const rows = new Map(); // "Model:id" -> payload
  const now = () => Math.floor(Date.now() / 1000);

  class Adapter {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload) {
      rows.set(`${this.model}:${id}`, payload);
    }

    async find(id) {
      return rows.get(`${this.model}:${id}`);
    }

    async findByUserCode(userCode) {
      return first(this.model, (payload) => payload.userCode === userCode);
    }

    async findByUid(uid) {
      return first(this.model, (payload) => payload.uid === uid);
    }

    async consume(id) {
      const payload = rows.get(`${this.model}:${id}`);
      if (payload) payload.consumed = now();
    }

    async destroy(id) {
      rows.delete(`${this.model}:${id}`);
    }

    async revokeByGrantId(grantId) {
      for (const [key, payload] of rows) {
        if (payload.grantId === grantId) rows.delete(key);
      }
    }
  }

  function first(model, matches) {
    for (const [key, payload] of rows) {
      if (key.startsWith(`${model}:`) && matches(payload)) return payload;
    }
    return undefined;
  }

  return { Adapter, all: (model) => [...rows].filter(([key]) => key.startsWith(`${model}:`)).map(([, row]) => row) };
}
