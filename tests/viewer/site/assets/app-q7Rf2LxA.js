// Asks the API beside it, as the viewer does, and puts what it reads into the page. The title tells how it ended.
const base = new URL("../", location.href.split("#")[0]);
const token = localStorage.getItem("apilog.token");

const ask = async (path) => {
  const answer = await fetch(new URL(path, base), { headers: { Authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
};

const put = (id, text) => {
  document.getElementById(id).textContent = text;
};

// A call to another origin, which the policy must keep from being made.
const elsewhere = () =>
  new Promise((resolve) => {
    addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
    fetch("http://127.0.0.1:9/elsewhere").catch(() => {});
  });

try {
  const health = await ask("healthz");
  put("health", `${health.status} ${health.viewer.source} ${health.counters.appended}`);
  const { traces } = await ask("api/traces?limit=10");
  for (const row of traces) {
    const item = document.createElement("li");
    item.textContent = `${row.status} ${row.path} ${row.model}`;
    document.getElementById("traces").append(item);
  }
  put("refused", await elsewhere());
  await document.getElementById("pixel").decode();
  document.title = "done";
} catch (error) {
  document.title = `failed: ${error.message}`;
}
