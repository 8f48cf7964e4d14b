// Minimal calls with the types of openapi-typescript and openapi-fetch, required fields only.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "../generated/schema.js";

type WebhookEvent = components["schemas"]["WebhookEvent"];

const [baseUrl, key] = process.argv.slice(2);
// Jobs come as CSV too, which is not for these calls.
type Media = "application/json" | "application/problem+json";
const client = createClient<paths, Media>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

const made = await client.POST("/v1/job", {
  body: { name: "one", workflow: "music-ai/chords", params: { inputUrl: "https://example.com/a" } },
});
assert(made.data, JSON.stringify(made.error));
const id = made.data.id;

const labelled = await client.POST("/v1/job", {
  params: { header: { "Idempotency-Key": "order-4711" } },
  body: {
    name: "two",
    workflow: "music-ai/chords",
    params: {},
    metadata: { order: "4711" },
    deadline: "PT2H",
  },
});
assert(labelled.data, JSON.stringify(labelled.error));

const read = await client.GET("/v1/job/{job_id}", { params: { path: { job_id: id } } });
assert(read.data);
const { status, workflow, createdAt, gateway } = read.data;
assert.equal(status, "QUEUED" satisfies typeof status);
assert.equal(workflow, "music-ai/chords");
assert(createdAt.endsWith("Z"));
assert.equal(gateway.state, "accepted");

const listed = await client.GET("/v1/job", {
  params: { query: { metadata: { order: "4711" }, status: ["QUEUED"], createdAfter: "2026-01-01" } },
});
assert(listed.data, JSON.stringify(listed.error));
assert.deepEqual(listed.data.map((job) => job.id), [labelled.data.id]);

const batch = await client.POST("/v1/batch", {
  body: { name: "b", jobs: [{ name: "three", workflow: "music-ai/chords", params: {} }] },
});
assert.equal(batch.data?.ids.length, 1);

const endpoint = await client.POST("/v1/endpoint", { body: { url: "https://8.8.8.8/hook" } });
assert(endpoint.data?.secret?.startsWith("whsec_"), JSON.stringify(endpoint.error));

const refused = await client.POST("/v1/job", {
  // @ts-expect-error: a name is required
  body: { workflow: "music-ai/chords", params: {} },
});
assert.equal(refused.error?.code, "BAD_REQUEST" satisfies components["schemas"]["ErrorCode"]);
assert.deepEqual(refused.error?.errors, [{ field: "name", reason: "is required" }]);

// The payload of a webhook is told apart by its type.
export function told(event: WebhookEvent): string {
  switch (event.type) {
    case "job.failed":
      return event.data.error?.code ?? "";
    case "endpoint.disabled":
      return event.data.reason;
    case "test.ping":
      return event.data.tenant;
    default:
      return event.timestamp;
  }
}

console.log("ok");
