// Every shard with its replicas: the owner, the roles, and how far they are behind.

import { t } from "../i18n/index.js";
import { groups, isMeta, type Overview, type Replica, type Shard } from "../model/overview.js";
import { Table } from "./Table.js";

const ROLES: readonly string[] = ["leader", "follower", "learner", "candidate", "shutdown", "failed"];

export function ShardsPage({ overview }: { overview: Overview }) {
  const nodes = overview.nodes.map(({ id }) => id);
  const heads = [t("shard.shard"), t("shard.owner"), t("shard.epoch"), ...nodes.map((id) => t("node.name", { id: String(id) }))];
  return (
    <>
      <p class="note">{t("shard.hint")}</p>
      <Table label={t("page.shards")} heads={heads}>
        {groups(overview).map((shard) => (
          <ShardRow key={shard.shard} shard={shard} nodes={nodes} />
        ))}
      </Table>
    </>
  );
}

function ShardRow({ shard, nodes }: { shard: Shard; nodes: readonly number[] }) {
  return (
    <tr data-shard={shard.shard}>
      <th scope="row">{isMeta(shard) ? t("shard.meta") : shard.shard}</th>
      <td class={shard.owner === null ? "bad" : ""}>{shard.owner ?? t("shard.none")}</td>
      <td>{shard.epoch}</td>
      {nodes.map((id) => (
        <ReplicaCell key={id} replica={shard.replicas.find(({ node }) => node === id)} owner={shard.owner === id} />
      ))}
    </tr>
  );
}

function ReplicaCell({ replica, owner }: { replica: Replica | undefined; owner: boolean }) {
  if (!replica) {
    return (
      <td>
        <span aria-hidden="true">–</span>
        <span class="sr">{t("shard.absent")}</span>
      </td>
    );
  }
  const role = ROLES.find((one) => one === replica.role) ?? "unknown";
  return (
    <td class={`replica ${role} ${owner ? "owner" : ""}`}>
      {t(`role.${role}` as "role.leader")}
      {owner && <span class="sr">, {t("shard.owner")}</span>}
      {replica.lag !== null && replica.lag > 0 && <span class="note">{t("shard.lag", { n: replica.lag })}</span>}
    </td>
  );
}
