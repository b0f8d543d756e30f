// Fires the crons of a local run when their time comes, as Cloudflare does in production (UTC, to the minute).

/** Calls `fire(worker, cron)` for every schedule that is due, once a minute. Returns what stops it. */
export function fireCrons(workers, fire) {
  const tick = () => {
    const now = new Date();
    for (const worker of workers) {
      for (const cron of worker.cron) if (isDue(cron, now)) fire(worker, cron);
    }
    timer = setTimeout(tick, 60_000 - (Date.now() % 60_000));
  };
  let timer = setTimeout(tick, 60_000 - (Date.now() % 60_000));
  return () => clearTimeout(timer);
}

/** Whether a five-field cron expression (numbers, lists, ranges, steps) matches the minute of `date`. */
export function isDue(cron, date) {
  const now = [date.getUTCMinutes(), date.getUTCHours(), date.getUTCDate(), date.getUTCMonth() + 1, date.getUTCDay()];
  return cron.split(/\s+/).every((field, index) => field.split(",").some((part) => matches(part, now[index])));
}

function matches(part, value) {
  const [range, every = "1"] = part.split("/");
  const [from, to = part.includes("/") ? Infinity : from] = range === "*" ? [0, Infinity] : range.split("-").map(Number);
  return value >= from && value <= to && (value - from) % Number(every) === 0;
}
