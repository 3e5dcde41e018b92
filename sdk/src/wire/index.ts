// Types of the wire, generated from the server's own descriptions.

export type * from "./generated.js";
export type * from "./rest.js";

import type { PresenceEvent } from "./generated.js";

export type PresenceState = PresenceEvent["state"];
