// Small parts that several views of the chat use.

import { useState } from "preact/hooks";
import { hueOf, initials } from "../model/avatar.js";
import { usePerson } from "../model/people.js";
import { Icon, type IconName } from "./icons.js";

export { Confirm, Dialog, Field, IconButton, roving } from "./controls.js";

export function Avatar({ user, online, small }: { user: string; online?: boolean; small?: boolean }) {
  const { name, avatar } = usePerson(user);
  // A picture that does not load is as good as none.
  const [failed, setFailed] = useState<string>();
  return (
    <span class={`avatar hue-${hueOf(user)} ${small ? "small" : ""}`} aria-hidden="true" translate={false}>
      {avatar && avatar !== failed ? <img src={avatar} alt="" onError={() => setFailed(avatar)} /> : initials(name)}
      {online && <span class="dot" />}
    </span>
  );
}

export function KindAvatar({ id, icon }: { id: string; icon: IconName }) {
  return (
    <span class={`avatar hue-${hueOf(id)}`} aria-hidden="true">
      <Icon name={icon} />
    </span>
  );
}

/** The name of a user; it is no text of the page. */
export function Name({ user }: { user: string }) {
  return <bdi translate={false}>{usePerson(user).name}</bdi>;
}
