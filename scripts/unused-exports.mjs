// What a Worker's wasm exports and nothing calls. The `worker` crate exports a JavaScript class for a few of its types
// (R2Range, MinifyConfig, the ends of streams) to every program that links it, with the code behind each method: 2 to 3 KB
// gzip a Worker that wasm-opt must keep as long as they are exported.

/**
 * The glue without the classes that nothing in it makes or uses; `kept` are the classes of the Worker itself.
 * A class is used where its name stands outside its own text: an import that wraps one, an `instanceof`.
 */
export function withoutUnusedClasses(glue, kept) {
  const names = [...glue.matchAll(/^(?:export )?class (\w+) \{$/gm)].map(([, name]) => name);
  return names
    .filter((name) => !kept.includes(name))
    .reduce((text, name) => {
      const own = new RegExp(`^(?:export )?class ${name} \\{$[^]*?^\\}$\\n|^if \\(Symbol\\.dispose\\) ${name}\\..*$\\n`, "gm");
      const rest = text.replace(own, "");
      const registry = new RegExp(`^const ${name}Finalization = [^]*?^\\}\\);$\\n`, "gm");
      return new RegExp(`\\b${name}\\b`).test(rest) ? text : rest.replace(registry, "");
    }, glue);
}

/** The wasm module with only those of its exports that `isUsed` picks by name. What they alone reached, wasm-opt drops. */
export function withoutExports(wasm, isUsed) {
  const EXPORTS = 7;
  const parts = [wasm.subarray(0, 8)];
  for (let at = 8; at < wasm.length; ) {
    const [size, body] = leb(wasm, at + 1);
    const section = wasm.subarray(body, body + size);
    if (wasm[at] === EXPORTS) {
      const entries = exportEntries(section).filter(({ name }) => isUsed(name));
      const list = Buffer.concat([toLeb(entries.length), ...entries.map(({ bytes }) => bytes)]);
      parts.push(Buffer.from([EXPORTS]), toLeb(list.length), list);
    } else parts.push(wasm.subarray(at, body + size));
    at = body + size;
  }
  return Buffer.concat(parts);
}

/** An export is a name, a byte for its kind and an index. */
function exportEntries(section) {
  const entries = [];
  let [count, at] = leb(section, 0);
  for (; count > 0; count -= 1) {
    const [length, name] = leb(section, at);
    const [, end] = leb(section, name + length + 1);
    entries.push({ name: section.toString("utf8", name, name + length), bytes: section.subarray(at, end) });
    at = end;
  }
  return entries;
}

/** An unsigned LEB128 number: [value, the place after it]. */
function leb(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

function toLeb(value) {
  const bytes = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value = Math.floor(value / 128);
  } while (value > 0);
  return Buffer.from(bytes);
}
