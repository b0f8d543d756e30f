// The first Worker of a local run: hands every request to the gateway as it is, and lets crons be run by hand, which
// `wrangler dev` can only do for its first Worker. Production has no such Worker: there Cloudflare fires the crons.
//
//   POST /local/cron/<name>      runs the cron Worker of that name now, and answers with its outcome

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const name = url.pathname.startsWith("/local/cron/") ? url.pathname.slice("/local/cron/".length) : null;
    if (name === null) {
      // wrangler's proxy ends with the process when a body of more than 1 MB is answered unread (a 401, a 413): read it here.
      const body = request.body === null ? undefined : await request.arrayBuffer();
      return env.GATEWAY.fetch(new Request(request, { body, redirect: "manual" }));
    }
    const job = env[`CRON:${name}`];
    if (job === undefined) {
      const names = Object.keys(env).filter((key) => key.startsWith("CRON:")).map((key) => key.slice("CRON:".length));
      return Response.json({ error: `No cron is called ${name}.`, crons: names }, { status: 404 });
    }
    if (request.method !== "POST") return Response.json({ error: "Send a POST." }, { status: 405 });
    const { outcome } = await job.scheduled({ scheduledTime: new Date(), cron: url.searchParams.get("cron") ?? "" });
    return Response.json({ outcome }, { status: outcome === "ok" ? 200 : 500 });
  },
};
