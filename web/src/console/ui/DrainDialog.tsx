// The drain of a node: what it does, and whether the node can stop afterwards.

import { useEffect, useState } from "preact/hooks";
import { list } from "../../i18n/core.js";
import { t } from "../i18n/index.js";
import { read } from "../model/api.js";
import type { ClusterNode, StopVerdict } from "../model/overview.js";
import { ChangeDialog } from "./ChangeDialog.js";
import { reasonOf, shardList } from "./format.js";

export function DrainDialog({ node, onClose }: { node: ClusterNode; onClose: () => void }) {
  const [verdict, setVerdict] = useState<StopVerdict>();
  const [failure, setFailure] = useState<unknown>();
  useEffect(() => {
    read<StopVerdict>(`/v1/admin/nodes/${node.id}/can-stop`).then(setVerdict, setFailure);
  }, [node.id]);
  const sessions = node.report ? node.report.sessions + node.report.detached : 0;
  const refused = verdict?.can_stop === false;
  return (
    <ChangeDialog
      title={t("drain.title", { id: String(node.id) })}
      hint={t("drain.does", { n: node.owned, m: sessions })}
      action={refused ? t("drain.anyway") : t("drain.do")}
      danger={refused}
      waiting={!verdict}
      method="POST"
      path={`/v1/admin/nodes/${node.id}/drain`}
      onClose={onClose}
    >
      <div role="status" data-verdict={verdict && (refused ? "refused" : "permitted")}>
        {!verdict && failure === undefined && <p class="note">{t("drain.asking")}</p>}
        {failure !== undefined && <p class="note error">{reasonOf(failure)}</p>}
        {verdict?.can_stop && <p>{t("drain.can-stop")}</p>}
        {verdict && refused && (
          <>
            <p class="warning">{t("drain.cannot-stop", { groups: shardList(verdict.shards, verdict.meta) })}</p>
            {verdict.down.length > 0 && (
              <p>{t("drain.down", { nodes: list(verdict.down.map((id) => t("node.name", { id: String(id) }))) })}</p>
            )}
          </>
        )}
      </div>
    </ChangeDialog>
  );
}
