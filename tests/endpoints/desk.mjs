// The harness's own Worker beside Conduit's: D1 by SQL, and crons by hand.
//
// Not miniflare's handles (`getD1Database`): they block this process until workerd answers, while workerd, with a full
// pipe of log lines, waits for this process to read them. Both would wait for ever.

const host = "desk.test";

const code = `
export default {
  async fetch(request, env) {
    const { statements, cron } = await request.json();
    if (cron) return Response.json(await env["CRON:" + cron].scheduled({ scheduledTime: new Date(), cron: "" }));
    const prepared = statements.map(({ sql, binds }) => env.DB.prepare(sql).bind(...binds));
    return Response.json(await env.DB.batch(prepared));
  },
};`;

/** The Worker, as miniflare takes it: it has the D1 of `workers`, and reaches those of them that have a cron. */
export const deskWorker = (workers, crons) => ({
  name: "desk",
  routes: [`${host}/*`],
  modules: [{ type: "ESModule", path: "desk.js", contents: code }],
  modulesRoot: "/",
  compatibilityDate: workers[0].compatibilityDate,
  compatibilityFlags: ["service_binding_extra_handlers"],
  d1Databases: { DB: workers.find((worker) => worker.d1Databases.DB).d1Databases.DB },
  serviceBindings: Object.fromEntries(crons.map((name) => [`CRON:${name}`, name])),
});

async function ask(miniflare, question) {
  const response = await miniflare.dispatchFetch(`https://${host}/`, { method: "POST", body: JSON.stringify(question) });
  if (response.status !== 200) throw new Error(`the desk answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** Runs a cron Worker; answers its outcome, "ok" when all went well. */
export const runCron = async (miniflare, name) => (await ask(miniflare, { cron: name })).outcome;

/** D1 with as much of its interface as tests and scripts/database.mjs use. */
export class Database {
  constructor(miniflare) {
    this.miniflare = miniflare;
  }

  prepare(sql) {
    return new Statement(this, sql, []);
  }

  exec(sql) {
    return this.prepare(sql).run();
  }

  batch(statements) {
    return ask(this.miniflare, { statements: statements.map(({ sql, binds }) => ({ sql, binds })) });
  }
}

class Statement {
  constructor(database, sql, binds) {
    Object.assign(this, { database, sql, binds });
  }

  bind(...binds) {
    return new Statement(this.database, this.sql, binds);
  }

  async all() {
    return (await this.database.batch([this]))[0];
  }

  run() {
    return this.all();
  }
}
