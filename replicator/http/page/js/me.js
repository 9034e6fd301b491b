// Who we are to the service.

import { get } from "./api.js";

/** `{name, role}`; the service itself decides again with each order. */
export async function me() {
  return get("v1/me");
}

export const mayOperate = (who) => who.role === "operate";
