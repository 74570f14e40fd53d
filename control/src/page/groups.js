// Stored responses by the beginning of their paths.

/** A URL in two parts: its scheme and host, and the rest. */
export function parts(url) {
  const [, origin, path] = /^(\w+:\/\/[^/?]*)(.*)$/s.exec(url) ?? [null, "", url];
  return { origin, path: path || "/" };
}

/** The group of a URL: its host, and the first directory of its path. */
export function groupOf(url) {
  const { origin, path } = parts(url);
  const [directory] = /^\/[^/?]+\//.exec(path) ?? ["/"];
  return { origin, path: directory };
}

/** How groups are ordered, where what is listed is ordered so; otherwise they come as their first ones do. */
const BY = { hits: (group) => group.hits, size: (group) => group.bytes };

/** The groups of listed responses, which keep their order within each. */
export function grouped(objects, order) {
  const groups = new Map();
  for (const object of objects) {
    const { origin, path } = groupOf(object.url);
    const key = `${origin}${path}`;
    if (!groups.has(key)) groups.set(key, { key, origin, path, hits: 0, bytes: 0, objects: [] });
    const group = groups.get(key);
    group.hits += object.hits;
    group.bytes += object.bytes;
    group.objects.push(object);
  }
  const by = BY[order];
  return by ? [...groups.values()].sort((a, b) => by(b) - by(a)) : [...groups.values()];
}
