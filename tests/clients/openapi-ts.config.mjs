export default {
  input: process.env.OPENAPI_DOCUMENT,
  output: { path: process.env.OPENAPI_OUTPUT },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
