// Answers each line, [question, text, ...], with a line, [answer, ...]: null where it throws.
'use strict';

const questions = {
  restringify: (text) => JSON.stringify(JSON.parse(text)),
  host: (text) => {
    const { protocol, hostname, port, username, password } = new URL(text);
    return [protocol, hostname, Number(port || 443), username + password];
  },
};

function answer(question, text) {
  try {
    return questions[question](text);
  } catch {
    return null;
  }
}

const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [question, ...texts] = JSON.parse(line);
  process.stdout.write(JSON.stringify(texts.map((text) => answer(question, text))) + '\n');
});
