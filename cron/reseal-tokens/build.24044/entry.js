
import * as wasm from "./index.js";

Error.stackTraceLimit = 100;
const initState = wasm.__worker_init_state();

// What rejects each call that is under way. Those of a dead instance would never be answered, a Durable Object's for minutes.
const underWay = new Set();

function revive() {
  if (!initState.criticalError) return;
  console.log("Starting a new wasm instance after a panic");
  wasm.__wbg_reset_state();
  initState.criticalError = false;
  initState.instanceId++;
}

function notice(error) {
  if (!(error instanceof WebAssembly.RuntimeError)) return;
  console.error("Panic", error);
  initState.criticalError = true;
  for (const reject of underWay) reject(new Error("The Worker's code panicked."));
  underWay.clear();
}

addEventListener("error", (event) => notice(event.error));
addEventListener("unhandledrejection", (event) => notice(event.reason));

function guarded(call) {
  return new Promise((resolve, reject) => {
    underWay.add(reject);
    const settle = (end) => (value) => {
      underWay.delete(reject);
      end(value);
    };
    try {
      revive();
      call().then(settle(resolve), settle(reject));
    } catch (error) {
      settle(reject)(error);
      notice(error);
    }
  });
}

export default {
  scheduled: (arg, env, ctx) => guarded(() => wasm.scheduled(arg, env, ctx)),
};

function durable(Rust) {
  class Durable {
    constructor(state, env) {
      this.made = [state, env];
      revive();
      this.make();
    }
    make() {
      try {
        this.rust = new Rust(...this.made);
        this.instanceId = initState.instanceId;
      } catch (error) {
        notice(error);
        throw error;
      }
    }
    call(method, args) {
      return guarded(() => {
        if (this.instanceId !== initState.instanceId) this.make();
        return this.rust[method](...args);
      });
    }
  }
  for (const method of ["fetch","alarm"]) {
    if (method in Rust.prototype) {
      Durable.prototype[method] = function (...args) {
        return this.call(method, args);
      };
    }
  }
  return Durable;
}
void durable;

