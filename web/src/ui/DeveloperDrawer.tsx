// The connection and the cluster behind the page. Killing a node is best watched here.

import { useConversation, useStatus } from "@rookery/client/react";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { number, t, timeWithSeconds } from "../i18n/index.js";
import { t as shared } from "../i18n/shared/index.js";
import { fetchAny } from "../model/config.js";
import { openKey } from "../model/route.js";
import type { Session } from "../model/session.js";
import { drawer } from "../model/view.js";
import { IconButton } from "./parts.js";

const OWNER_EVERY_MS = 1_000;

interface Owner {
  shard: number;
  owner: number | null;
  epoch: number;
  replicas: number[];
}

export function DeveloperDrawer({ session }: { session: Session }) {
  const { probe } = session;
  const { phase, why, leader, store } = useStatus();
  const [, info] = useConversation(openKey.value ?? "");
  const owner = useOwner(session, info?.c);
  const { node, url, sid, n, latency } = probe.facts.value;
  const frames = [...probe.frames.value].reverse();
  return (
    <section class="drawer" aria-label={t("dev.title")}>
      <header class="bar">
        <h2>{t("dev.title")}</h2>
        <IconButton icon="close" label={shared("dialog.close")} onClick={() => (drawer.value = false)} />
      </header>
      <div class="drawer-body">
        <div class="facts" tabIndex={0} role="region" aria-label={t("dev.facts")}>
          <dl>
            <Fact name={t("dev.phase")}>{why && phase !== "live" ? `${phase} (${why})` : phase}</Fact>
            <Fact name={t("dev.node")}>{node ?? t("dev.unknown")}</Fact>
            <Fact name={t("dev.address")}>{url ? new URL(url).host : t("dev.unknown")}</Fact>
            <Fact name={t("dev.session")}>{sid ?? t("dev.unknown")}</Fact>
            <Fact name={t("dev.n")}>{n === undefined ? t("dev.unknown") : String(n)}</Fact>
            <Fact name={t("dev.latency")}>
              {latency === undefined ? t("dev.none") : t("dev.latency.ms", { n: Math.round(latency * 10) / 10 })}
            </Fact>
            <Fact name={t("dev.store")}>{store}</Fact>
            {info && <Fact name={t("dev.conversation")}>{info.c}</Fact>}
            {info && <Fact name={t("dev.owner")}>{owner ? String(owner.owner ?? t("dev.none")) : t("dev.unknown")}</Fact>}
            {owner && (
              <>
                <Fact name={t("dev.epoch")}>{String(owner.epoch)}</Fact>
                <Fact name={t("dev.shard")}>{String(owner.shard)}</Fact>
                <Fact name={t("dev.position")}>{String(info?.last?.s ?? 0)}</Fact>
                <Fact name={t("dev.replicas")}>{owner.replicas.map(number).join(", ")}</Fact>
              </>
            )}
          </dl>
        </div>
        <div class="frames" tabIndex={0} role="region" aria-label={t("dev.frames")}>
          {!leader && <p class="note">{t("dev.follower")}</p>}
          <ol translate={false}>
            {frames.map(({ key, out, at, text }) => (
              <li key={key} class={out ? "out" : "in"}>
                <time dateTime={new Date(at).toISOString()}>{timeWithSeconds(at)}</time> <b>{out ? "→" : "←"}</b> <code>{text}</code>
              </li>
            ))}
          </ol>
        </div>
      </div>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd translate={false}>{children}</dd>
    </div>
  );
}

/** The owner of a conversation, as a node has it: open to all with development tokens, to operators otherwise. */
function useOwner({ nodes }: Session, c: string | undefined): Owner | undefined {
  const [owner, setOwner] = useState<Owner>();
  useEffect(() => {
    setOwner(undefined);
    if (!c) return undefined;
    const abort = new AbortController();
    const ask = async () => {
      // A node that is gone must not delay the next question.
      const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(5_000)]);
      const answer = await fetchAny(nodes, `/v1/cluster/owner?conversation=${encodeURIComponent(c)}`, { signal });
      if (answer.ok) setOwner(await answer.json());
    };
    let timer: ReturnType<typeof setTimeout>;
    const loop = () =>
      ask()
        .catch(() => {})
        .finally(() => {
          if (!abort.signal.aborted) timer = setTimeout(loop, OWNER_EVERY_MS);
        });
    void loop();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [c]);
  return owner;
}
