// The entry of `@rookery/client/testing`: a fake cluster, and a client that is moved step by step.

export { FakeCluster, type FakeConversation, FakeLink, type FakeOptions } from "./cluster.js";
export { type FakeSockets, fakeSockets } from "./socket.js";
export { SteppedClient } from "./stepped.js";
