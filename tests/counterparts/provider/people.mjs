// The people of the tests. Claims can be changed while the provider runs (POST /people on the control port).

export function createPeople() {
  const people = new Map();
  const add = (id, name, groups) => people.set(id, {
    sub: id,
    name,
    preferred_username: id,
    email: `${id}@example.com`,
    email_verified: true,
    groups,
  });
  add('alice', 'Alice Developer', ['dev']);
  add('bob', 'Bob Operator', ['sre']);
  add('carol', 'Carol Auditor', ['auditor']);
  add('dave', 'Dave Nobody', undefined); // no groups claim at all, as providers do for people without one

  return {
    names: () => [...people.keys()],
    has: (id) => people.has(id),
    claims: (id) => Object.fromEntries(
      Object.entries(people.get(id)).filter(([, value]) => value !== undefined && value !== null),
    ),
    // `null` removes a claim: "absent" and "empty" are different cases for whoever reads the token.
    change: (id, claims) => Object.assign(people.get(id), claims),
    disable: (id) => people.delete(id),
  };
}
