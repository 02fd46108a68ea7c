// Sent inline with every run, so kept short: finds the server's base address and hands over to host.js.
export default async function load({ data, parentElement, setTriggerValue }) {
  const call = (parentElement.whyboardCall = (parentElement.whyboardCall ?? 0) + 1); // before anything is awaited
  const payload = JSON.parse(new TextDecoder().decode(data));
  const script = document.querySelector('script[src*="/static/js/"]');
  const base = script ? script.src.split("/static/js/")[0] + "/" : location.origin + "/";
  const { mount } = await import(base + payload.assets.host);
  return mount({ payload, call, base, parent: parentElement, send: (events) => setTriggerValue("events", events) });
}
