// The commands that a next step names, completed with the link and the topic they are for.

const WITH_TOPIC = new Set(["resume", "verify", "pause"]);

/** Shell lines, ready to be copied. */
export function nextCommands(link, { topic, next_step: text = "" }) {
  return [...new Set([...text.matchAll(/`(replicator [^`]*)`/g)].map(([, words]) => completed(words, link, topic)))];
}

function completed(words, link, topic) {
  const [, verb] = words.split(" ");
  const about = topic !== undefined && WITH_TOPIC.has(verb) && !/ --(topic|all)\b/.test(words) ? ` --topic ${quoted(pattern(topic))}` : "";
  return `${words} --link ${quoted(link)}${about}`;
}

/** A regular expression that only this name matches. */
function pattern(topic) {
  return topic.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** As a shell takes it for one word, whatever is in it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
