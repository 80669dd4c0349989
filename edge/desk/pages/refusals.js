// Why the desk did not do something, in the person's own language. What is not known here is told as it came.

import { known, t } from "./words.js";

const WHY = [
  [/^(.+) was first$/, (m) => t("no_first", { who: m[1] })],
  [/incident is closed; reopen/, () => t("no_closed")],
  [/^the incident is already (\w+)$/, (m) => t("no_already", { what: known(`state_${m[1]}`, m[1]) })],
  [/already closed as (\w+)$/, (m) => t("no_already", { what: `${t("state_closed")}: ${known(m[1])}` })],
  [/^acknowledge the alert/, () => t("no_unseen")],
  [/the incident is not closed/, () => t("no_open")],
  [/no open question/, () => t("no_question")],
  [/this alarm is over/, () => t("no_alarm")],
  [/too many wrong passwords: wait (\d+) s/, (m) => t("no_locked", { s: m[1] })],
  [/name or password is not right/, () => t("no_password")],
  [/this invitation was used/, () => t("no_invitation")],
  [/^a password has (\d+) to (\d+) characters, at least (\d+)/, (m) => t("no_weak", { a: m[1], n: m[3] })],
  [/^somebody is called (\S+) already/, (m) => t("no_taken", { who: m[1] })],
  [/nobody would be left/, () => t("no_left")],
  [/no session with the broker/, () => t("broker_gone")],
  [/store does not answer|wait for the store/, () => t("no_store")],
  [/may not do this/, () => t("no_right")],
  [/^(\S+) does not work with incidents/, (m) => t("no_worker", { who: m[1] })],
  [/^more than (\d+)/, (m) => t("no_more", { n: m[1] })],
  [/^no incident |^no box |^no such |^nobody is called/, () => t("no_such")],
  [/^body\.login|^login: /, () => t("login_rule")],
  [/^body\.|: String should|: Input should|: Value /, () => t("no_value")],
];

export function why(error) {
  for (const [pattern, told] of WHY) {
    const match = pattern.exec(error.message);
    if (match) return told(match);
  }
  return error.message;
}
