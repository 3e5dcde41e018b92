//! State of the fake cluster: one log per conversation, its members, and the sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Defect, FakeSession, FakeState};

/// Number of events that a session holds for a resume.
const RING: usize = 64;

// === impl FakeState ===

impl FakeState {
    pub(super) fn login(&mut self, command: &Value, out: mpsc::UnboundedSender<String>) -> u64 {
        let user = command["token"]
            .as_str()
            .unwrap()
            .trim_start_matches("dev:")
            .to_owned();
        let (id, resume) = (&command["id"], &command["resume"]);
        // A resume needs every event after `n` in the replay buffer.
        let known = self.sessions.iter().find(|(_, session)| {
            let asked = (session.sid == resume["sid"].as_str().unwrap_or_default()) && session.user == user;
            let oldest = session.ring.front().map_or(session.n, |(n, _)| n - 1);
            let n = resume["n"].as_u64().unwrap_or(u64::MAX);
            asked && oldest <= n && n <= session.n
        });
        let known = known.map(|(known, _)| *known);
        let session = self.next_session;
        self.next_session += 1;
        let sid = format!("s{session}");
        // Refusing a resume now and then covers the client's path for a new session.
        if let Some(known) = known.filter(|_| !(self.rough.get() && self.rng.random_bool(0.3))) {
            let mut n = resume["n"].as_u64().unwrap();
            let elsewhere = u64::from(self.strikes(Defect::ResumeElsewhere));
            let ready = json!({"t":"ready","id":id,"user":user,"sid":sid,"resumed":true,"n":n + elsewhere});
            let _ = out.send(ready.to_string());
            let mut old = self.sessions.remove(&known).unwrap();
            (old.sid, old.out) = (sid, out);
            // The client has confirmed the events up to `n`.
            old.ring.retain(|(number, _)| *number > n);
            if !old.ring.is_empty() && self.strikes(Defect::ResumeSkips) {
                old.ring.pop_front();
            }
            // Numbered anew, so that a skipped event leaves no gap in the session seq.
            for (number, event) in &mut old.ring {
                n += 1;
                *number = n;
                let _ = old.out.send(numbered(n, event));
            }
            old.n = n;
            self.sessions.insert(session, old);
            return session;
        }
        let _ =
            out.send(json!({"t":"ready","id":id,"user":user,"sid":sid,"resumed":false,"n":0}).to_string());
        self.sessions.insert(
            session,
            FakeSession {
                user,
                sid,
                n: 0,
                out,
                ring: VecDeque::new(),
                resynced: false,
                gate: HashMap::new(),
            },
        );
        session
    }

    /// Returns `true` if the defect appears now, which happens once.
    pub(super) fn strikes(&mut self, defect: Defect) -> bool {
        if self.defect != defect || self.fuse > 0 {
            return false;
        }
        self.defect = Defect::None;
        true
    }

    pub(super) fn command(&mut self, session: u64, command: &Value) {
        let id = command["id"].clone();
        let user = self.sessions[&session].user.clone();
        let c = command["c"].as_str().unwrap_or_default().to_owned();
        let answer = match command["t"].as_str().unwrap() {
            "create" => {
                let c = format!("g_{}", command["cid"].as_str().unwrap().replace(['.', '-'], "_"));
                let mut members: BTreeSet<String> = command["members"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|user| user.as_str().unwrap().to_owned())
                    .collect();
                members.insert(user.clone());
                if !self.conversations.contains_key(&c) {
                    let first = json!({"t":"member","c":c,"s":1,"ts":1,"u":user,"who":user,"role":"owner","why":"create"});
                    self.conversations.insert(c.clone(), vec![first]);
                }
                self.members.insert(c.clone(), members);
                json!({"t":"conv","id":id,"c":c,"last":{"s":1,"mn":0,"ts":1}})
            }
            "kick" => return self.kick(session, &user, &c, command),
            "hist" | "read" | "open" | "members" if !self.may_read(&c, &user) => not_member(&id),
            what @ ("read" | "open" | "hist") if self.strikes(Defect::RefusesMember(known(what))) => {
                not_member(&id)
            }
            "open" => {
                let last = self.readable(&c, "open").len();
                json!({"t":"conv","id":id,"c":c,"last":{"s":last,"mn":0,"ts":1}})
            }
            "members" => self.list_members(&id, &c),
            "hist" => {
                let log = self.readable(&c, "hist");
                // Small pages, so that the tests cover several of them.
                let limit = command["limit"].as_u64().unwrap().min(7) as usize;
                let newest = log.len().saturating_sub(limit);
                let after = command["after"].as_u64().map_or(newest, |after| after as usize);
                let mut page: Vec<_> = log.iter().skip(after).take(limit).cloned().collect();
                let more = after + page.len() < log.len();
                for event in &mut page {
                    let position = (c.clone(), event["s"].as_u64().unwrap());
                    if self.defect == Defect::ServesDeleted && self.deleted.contains_key(&position) {
                        *event = self.deleted[&position].clone();
                    }
                }
                json!({"t":"hist","id":id,"c":c,"more":more,"events":page})
            }
            "sync" => {
                let (mut as_of, mut items) = (Vec::new(), Vec::new());
                let have = command["have"].as_array().unwrap().iter();
                let have = have.map(|have| (have[0].as_str().unwrap(), have[1].as_u64().unwrap() as usize));
                let mut wanted: BTreeMap<&str, usize> = have.collect();
                if self.defect != Defect::SyncLeavesOut {
                    let mine = self.members.iter().filter(|(_, members)| members.contains(&user));
                    for (c, _) in mine {
                        wanted.entry(c).or_default();
                    }
                }
                for (c, s) in wanted {
                    if !self.may_read(c, &user) {
                        continue;
                    }
                    let log = self.readable(c, "sync");
                    as_of.push(json!([c, log.len()]));
                    let missed = &log[s.min(log.len())..];
                    // At most five events per conversation, so that the tests cover gaps.
                    let window = &missed[missed.len().saturating_sub(5)..];
                    items.push(json!({"c":c,"events":window,"gap":window.len() < missed.len()}));
                }
                json!({"t":"delta","id":id,"as_of":as_of,"items":items,"next":null})
            }
            "send" => return self.send(session, &user, &c, command),
            "edit" | "del" | "react" => return self.change(session, &user, &c, command),
            "read" => {
                self.has_read(&c, &user, command["s"].as_u64().unwrap());
                json!({"t":"ok","id":id})
            }
            "watch" => json!({"t":"ok","id":id}),
            "list" => self.list(&id, &user),
            _ => return,
        };
        self.say(session, answer);
    }

    fn send(&mut self, session: u64, user: &str, c: &str, command: &Value) {
        let (id, cid) = (&command["id"], command["cid"].as_str().unwrap());
        self.fuse = self.fuse.saturating_sub(1);
        if self.strikes(Defect::Garbles) {
            let _ = self.sessions[&session].out.send("{\"t\":\"msg\",".to_owned());
        }
        let key = (c.to_owned(), user.to_owned(), cid.to_owned());
        // A retry of a stored message is acknowledged even after the sender's removal.
        if !self.members[c].contains(user) && !self.cids.contains_key(&key) {
            self.sessions.get_mut(&session).unwrap().gate.remove(c);
            return self.say(session, not_member(id));
        }
        // After a refusal, later messages are refused until the refused one is sent again: order is a promise.
        let gate = self.sessions[&session].gate.get(c).cloned();
        let refuse = match gate {
            Some(refused) if refused != cid => true,
            _ => self.rough.get() && self.rng.random_bool(0.02),
        };
        if refuse {
            let gate = &mut self.sessions.get_mut(&session).unwrap().gate;
            gate.entry(c.to_owned()).or_insert(cid.to_owned());
            return self.say(
                session,
                json!({"t":"err","id":id,"code":"busy","http":503,"temp":true,"retry_ms":5,"msg":"full"}),
            );
        }
        self.sessions.get_mut(&session).unwrap().gate.remove(c);
        if self.strikes(Defect::StaysSilent) {
            return;
        }
        if self.strikes(Defect::RefusesMember("send")) {
            return self.say(session, not_member(id));
        }
        if self.strikes(Defect::RefusesAndKeeps) {
            self.log(c, user, command);
            return self.say(session, not_member(id));
        }
        let known = if self.strikes(Defect::ForgetsCids) {
            self.log(c, user, command);
            None
        } else {
            self.cids.get(&key).cloned()
        };
        let mut ack = match known {
            Some(ack) => ack,
            None => {
                let ack = if self.strikes(Defect::LosesAcked) {
                    json!({"t":"ack","c":c,"cid":cid,"s":self.conversations[c].len() + 1,"mn":1,"ts":1})
                } else {
                    self.log(c, user, command)
                };
                // Stored even for a lost message: its retry has to get the same acknowledgement.
                self.cids.insert(key, ack.clone());
                ack
            }
        };
        ack["id"] = id.clone();
        if self.strikes(Defect::AcksTwice) {
            self.say(session, ack.clone());
        }
        self.say(session, ack);
    }

    /// Removes a member, once per client message id.
    fn kick(&mut self, session: u64, user: &str, c: &str, command: &Value) {
        let (id, who) = (&command["id"], command["who"].as_str().unwrap());
        let key = (c.to_owned(), user.to_owned(), command["cid"].to_string());
        if !self.cids.contains_key(&key) {
            let log = self.conversations.get_mut(c).unwrap();
            let s = log.len() + 1;
            let event = json!({"t":"member","c":c,"s":s,"ts":s,"u":user,"who":who,"role":null,"why":"kick"});
            log.push(event.clone());
            // Published before the removal, so that the removed member gets the event as well.
            let skips = self.strikes(Defect::SkipsRemoval);
            self.publish(c, &event, skips.then_some(who));
            if !skips && !self.strikes(Defect::KeepsMember) {
                self.members.get_mut(c).unwrap().remove(who);
            }
            for session in self
                .sessions
                .values_mut()
                .filter(|session| skips && session.user == who)
            {
                session.n += 1;
                let _ = session
                    .out
                    .send(numbered(session.n, &json!({"t":"resync","why":"slow"})));
            }
            let ack = json!({"t":"ack","c":c,"cid":command["cid"],"s":s,"ts":s});
            self.cids.insert(key.clone(), ack);
        }
        let mut ack = self.cids[&key].clone();
        ack["id"] = id.clone();
        self.say(session, ack);
    }

    /// Appends a message, publishes it and returns its acknowledgement.
    fn log(&mut self, c: &str, user: &str, command: &Value) -> Value {
        let log = self.conversations.get_mut(c).unwrap();
        let mn = log.iter().filter(|event| event["t"] == "msg").count() + 1;
        let s = log.len() + 1;
        let event =
            json!({"t":"msg","c":c,"s":s,"mn":mn,"ts":s,"u":user,"cid":command["cid"],"b":command["b"]});
        log.push(event.clone());
        self.publish(c, &event, None);
        // A message moves its sender's read position.
        let read = self.read.entry((c.to_owned(), user.to_owned())).or_default();
        *read = (*read).max(s as u64);
        json!({"t":"ack","c":c,"cid":command["cid"],"s":s,"mn":mn,"ts":s})
    }

    /// Sends an event to all sessions of the members, except those of the user `but`.
    fn publish(&mut self, c: &str, event: &Value, but: Option<&str>) {
        let members = self.members[c].clone();
        let receivers: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, session)| members.contains(&session.user) && but != Some(&session.user))
            .map(|(id, _)| *id)
            .collect();
        let durable = event["t"] == "msg";
        for receiver in receivers {
            let mut event = event.clone();
            if durable && self.strikes(Defect::SkipsLive) {
                continue;
            }
            if durable && self.strikes(Defect::AltersBody) {
                event["b"]["y"] = "other".into();
            }
            if durable && self.strikes(Defect::Forks) {
                event["ts"] = 1_000_000.into();
            }
            if durable && self.strikes(Defect::ForksQuietly) {
                event["ts"] = (event["s"].as_u64().unwrap() - 1).into();
            }
            let skip = u64::from(self.strikes(Defect::SkipsNumber));
            let resync = self.rough.get() && self.rng.random_bool(0.003);
            let session = self.sessions.get_mut(&receiver).unwrap();
            // The oracle reports a second `resync` within a short time as a violation.
            let resync = resync && !session.resynced;
            session.resynced |= resync;
            session.n += 1 + skip;
            let frame = if resync {
                json!({"t":"resync","why":"slow"})
            } else {
                event
            };
            let _ = session.out.send(numbered(session.n, &frame));
            if session.ring.len() == RING {
                session.ring.pop_front();
            }
            session.ring.push_back((session.n, frame));
        }
    }

    fn has_read(&mut self, c: &str, user: &str, s: u64) {
        let last = self.conversations[c].len() as u64;
        let read = self.read.entry((c.to_owned(), user.to_owned())).or_default();
        *read = (*read).max(s.min(last));
        let mut read = *read;
        let known = !self.delivered.insert((c.to_owned(), user.to_owned()));
        // A cursor can only move back after a first receipt.
        if known && self.strikes(Defect::CursorFalls) {
            read = 0;
        }
        let receipt = json!({"t":"receipt","c":c,"u":user,"delivered":read,"read":read});
        self.publish(c, &receipt, Some(user));
    }

    /// Edits, deletes or reacts, once per client message id.
    fn change(&mut self, session: u64, user: &str, c: &str, command: &Value) {
        let (id, of) = (&command["id"], command["of"].as_u64().unwrap());
        if self.rough.get() && self.rng.random_bool(0.05) {
            return self.say(
                session,
                json!({"t":"err","id":id,"code":"unavailable","http":503,"temp":true,"retry_ms":5,"msg":""}),
            );
        }
        let key = (
            c.to_owned(),
            user.to_owned(),
            command["cid"].as_str().unwrap().to_owned(),
        );
        if let Some(ack) = self.cids.get(&key) {
            let mut ack = ack.clone();
            ack["id"] = id.clone();
            return self.say(session, ack);
        }
        if self.deleted.contains_key(&(c.to_owned(), of)) {
            return self.say(
                session,
                json!({"t":"err","id":id,"code":"conflict","http":409,"temp":false,"msg":""}),
            );
        }
        let log = self.conversations.get_mut(c).unwrap();
        let s = log.len() + 1;
        let event = match command["t"].as_str().unwrap() {
            "edit" => json!({"t":"edit","c":c,"s":s,"of":of,"u":user,"ts":s,"b":command["b"]}),
            "react" => json!({"t":"react","c":c,"s":s,"of":of,"u":user,"ts":s,"k":command["k"],"on":true}),
            _ => {
                for event in log
                    .iter_mut()
                    .filter(|event| event["s"] == of || event["of"] == of)
                {
                    if event.get("b").is_some() {
                        let position = (c.to_owned(), event["s"].as_u64().unwrap());
                        self.deleted.insert(position, event.clone());
                        (event["b"], event["deleted"]) = (json!({}), true.into());
                    }
                }
                json!({"t":"del","c":c,"s":s,"of":of,"u":user,"ts":s})
            }
        };
        log.push(event.clone());
        let mut ack = json!({"t":"ack","c":c,"cid":command["cid"],"s":s,"ts":s});
        self.cids.insert(key, ack.clone());
        self.publish(c, &event, None);
        ack["id"] = id.clone();
        self.say(session, ack);
    }

    fn say(&self, session: u64, frame: Value) {
        let _ = self.sessions[&session].out.send(frame.to_string());
    }
}

pub(super) fn not_member(id: &Value) -> Value {
    json!({"t":"err","id":id,"code":"not_member","http":403,"temp":false,"msg":""})
}

/// Returns the static form of a command's name.
fn known(what: &str) -> &'static str {
    ["read", "open", "hist"]
        .into_iter()
        .find(|known| *known == what)
        .unwrap_or("")
}

/// Serializes an event with its session seq, which the protocol puts first.
fn numbered(n: u64, event: &Value) -> String {
    format!("{{\"n\":{n},{}", &event.to_string()[1..])
}
