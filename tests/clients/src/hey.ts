// Minimal calls with the client of @hey-api/openapi-ts, required fields only.
import assert from "node:assert/strict";
import { client } from "../generated/hey/client.gen.js";
import { createEndpoint, createJob, getJob, listEvents, listJobs } from "../generated/hey/sdk.gen.js";
import type { JobOut, WebhookEvent } from "../generated/hey/types.gen.js";

const [baseUrl, key] = process.argv.slice(2);
client.setConfig({ baseUrl, auth: key });

const made = await createJob({
  body: { name: "one", workflow: "music-ai/chords", params: {}, metadata: { hey: "1" } },
});
assert(made.data, JSON.stringify(made.error));

const read = await getJob({ path: { job_id: made.data.id } });
assert(read.data);
const job: JobOut = read.data;
assert.equal(job.status, "QUEUED");

const listed = await listJobs({ query: { metadata: { hey: "1" }, status: ["QUEUED"], size: 5 } });
assert(listed.data, JSON.stringify(listed.error));
assert.deepEqual(listed.data.map((one) => one.id), [job.id]);

const endpoint = await createEndpoint({ body: { url: "https://8.8.4.4/hook" } });
assert(endpoint.data?.secret, JSON.stringify(endpoint.error));

const events = await listEvents();
assert.deepEqual(events.data, []);

const refused = await createJob({ body: { name: "", workflow: "w", params: {} } });
assert.equal(refused.error?.code, "BAD_REQUEST");

export const code = (event: WebhookEvent): string | undefined =>
  event.type === "job.failed" ? event.data.error?.code : undefined;

console.log("ok");
