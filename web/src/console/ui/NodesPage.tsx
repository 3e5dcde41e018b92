// The nodes, and what can be done with them.

import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { type ClusterNode, isLeaving, type Overview, replicasOn, stateOf } from "../model/overview.js";
import { ChangeDialog } from "./ChangeDialog.js";
import { DrainDialog } from "./DrainDialog.js";
import { size, span } from "./format.js";
import { Table } from "./Table.js";

type Action = "drain" | "resume" | "forget";

export function NodesPage({ overview }: { overview: Overview }) {
  const [open, setOpen] = useState<{ action: Action; id: number }>();
  const close = () => setOpen(undefined);
  const node = overview.nodes.find(({ id }) => id === open?.id);
  const zones = overview.nodes.some(({ zone }) => zone !== "");
  const heads = [
    t("node.node"),
    t("node.state"),
    t("node.address"),
    ...(zones ? [t("node.zone")] : []),
    t("node.version"),
    t("node.uptime"),
    t("node.owned"),
    t("node.replicas"),
    t("node.sessions"),
    t("node.connections"),
    t("node.disk"),
    t("node.clock"),
    t("node.fsync"),
    t("node.actions"),
  ];
  return (
    <>
      <Table label={t("page.nodes")} heads={heads}>
        {overview.nodes.map((one) => (
          <NodeRow
            key={one.id}
            node={one}
            replicas={replicasOn(overview, one.id)}
            zones={zones}
            onAct={(action) => setOpen({ action, id: one.id })}
          />
        ))}
      </Table>
      {node && open?.action === "drain" && <DrainDialog node={node} onClose={close} />}
      {node && open?.action === "resume" && (
        <ChangeDialog
          title={t("resume.title", { id: String(node.id) })}
          hint={t("resume.does")}
          action={t("node.resume")}
          method="POST"
          path={`/v1/admin/nodes/${node.id}/resume`}
          onClose={close}
        />
      )}
      {node && open?.action === "forget" && (
        <ChangeDialog
          title={t("forget.title", { id: String(node.id) })}
          hint={t("forget.does")}
          action={t("node.forget")}
          danger
          method="DELETE"
          path={`/v1/cluster/nodes/${node.id}`}
          onClose={close}
        />
      )}
    </>
  );
}

function NodeRow(props: { node: ClusterNode; replicas: number; zones: boolean; onAct: (action: Action) => void }) {
  const { node, replicas, zones, onAct } = props;
  const { report } = node;
  const state = stateOf(node);
  const name = t("node.name", { id: String(node.id) });
  const act = (action: Action, label: string) => (
    <button type="button" class="button small" aria-label={`${label}: ${name}`} onClick={() => onAct(action)}>
      {label}
    </button>
  );
  return (
    <tr data-node={node.id} data-state={state}>
      <th scope="row">{name}</th>
      <td>
        <span class={`badge ${state}`}>{t(`state.${state}`)}</span>
        {report?.not_ready && (
          <span class="note" translate={false}>
            {report.not_ready}
          </span>
        )}
      </td>
      <td translate={false}>{node.addr}</td>
      {zones && <td translate={false}>{node.zone}</td>}
      <td translate={false}>{report?.version}</td>
      <td>{report && span(report.uptime_ms)}</td>
      <td class="figures-cell">{node.owned}</td>
      <td class="figures-cell">{replicas}</td>
      <td class="figures-cell">{report && report.sessions + report.detached}</td>
      <td class="figures-cell">{report && t("figure.of", { n: report.connections, m: report.connections_limit })}</td>
      <td class="figures-cell">{report && size(report.disk_free_bytes)}</td>
      <td class="figures-cell">{report?.clock_skew_ms != null && t("node.clock.ms", { n: report.clock_skew_ms })}</td>
      <td>{report && t(report.fsync ? "node.fsync.on" : "node.fsync.off")}</td>
      <td>
        <div class="row-actions">
          {isLeaving(node) ? act("resume", t("node.resume")) : report && act("drain", t("node.drain"))}
          {(node.silent || state === "drained") && act("forget", t("node.forget"))}
        </div>
      </td>
    </tr>
  );
}
