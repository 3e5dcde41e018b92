// The state of a cluster in one sentence: how much of it works, and how many nodes it may still lose.

import type { Key } from "../i18n/index.js";
import { groups, isLeaving, type Overview, votes } from "./overview.js";

/** A part of the sentence: its text, and the values for it. */
export interface Phrase {
  key: Key;
  n: number;
  m: number;
}

export function sentenceOf(overview: Overview): Phrase[] {
  const { nodes, shards } = overview;
  const answering = nodes.filter((node) => !node.silent).length;
  const owned = shards.filter((shard) => shard.owner !== null).length;
  const phrases: Phrase[] = [
    { key: "sentence.nodes", n: answering, m: nodes.length },
    { key: owned === shards.length ? "sentence.owned.all" : "sentence.owned.some", n: owned, m: shards.length },
  ];
  const spare = spareNodes(overview);
  if (spare < 0)
    phrases.push({ key: "sentence.majority", n: groups(overview).filter((group) => spareOf(group, new Set()) < 0).length, m: 0 });
  else phrases.push({ key: spare === 0 ? "sentence.spare.none" : "sentence.spare", n: spare, m: 0 });
  return phrases;
}

/** How many more nodes may stop, whichever they are; negative if some group has no majority already. */
export function spareNodes(overview: Overview): number {
  const all = groups(overview);
  const lost = Math.min(...all.map((group) => spareOf(group, new Set())));
  if (lost < 0) return lost;
  // A draining node is about to stop, and counts as down.
  const leaving = new Set(overview.nodes.filter(isLeaving).map((node) => node.id));
  return Math.max(0, Math.min(...all.map((group) => spareOf(group, leaving))));
}

function spareOf(group: Overview["meta"], leaving: ReadonlySet<number>): number {
  const { voters } = votes(group);
  const { working } = votes({ ...group, replicas: group.replicas.filter((replica) => !leaving.has(replica.node)) });
  return working - (Math.floor(voters / 2) + 1);
}
