// What the processor's throughput is held against: a Worker that does nothing but INSERT, into a table of two columns in the
// same D1. One request has it insert `rows` rows of the payload in its body, `per_call` in each call to D1, and as many calls
// at a time as a Worker may have connections.

const atOnce = 6;

export default {
  async fetch(request, env) {
    const query = new URL(request.url).searchParams;
    const [rows, perCall] = ["rows", "per_call"].map((name) => Number(query.get(name)));
    const payload = await request.text();
    const insert = env.DB.prepare("INSERT INTO bench_inserts (id, payload) VALUES (?1, ?2)");
    const one = () => insert.bind(crypto.randomUUID(), payload);
    let left = rows;
    const line = async () => {
      while (left > 0) {
        const count = Math.min(perCall, left);
        left -= count;
        if (count === 1) await one().run();
        else await env.DB.batch(Array.from({ length: count }, one));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, line));
    return new Response(null, { status: 204 });
  },
};
