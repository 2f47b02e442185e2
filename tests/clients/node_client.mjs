// The official client for Node.js, driven by test_clients_node.py: BASE_URL, API_KEY, a scenario's name;
// prints what came of it as JSON.
import OpenAI from 'openai';

const [baseURL, apiKey, scenario] = process.argv.slice(2);
const connect = (maxRetries = 0) => new OpenAI({ baseURL, apiKey, maxRetries, timeout: 60000 });
const client = connect();
const messages = [{ role: 'user', content: 'say some words' }];
const chat = (more = {}) => client.chat.completions.create({ model: 'words', messages, ...more });

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) =>
  chunks.map((chunk) => chunk.choices.map((choice) => choice.delta.content ?? '').join('')).join('');

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    const kind = Object.keys(OpenAI).find((name) => OpenAI[name] === error.constructor);
    return { kind, status: error.status, code: error.code, type: error.type, message: error.message };
  }
  return null;
}

const scenarios = {
  async models() {
    const list = await collect(await client.models.list());
    const one = await client.models.retrieve('words');
    return { ids: list.map((model) => model.id), one };
  },

  async chat() {
    const answer = await chat({ logprobs: true, top_logprobs: 2 });
    const choice = answer.choices[0];
    return {
      text: choice.message.content,
      tokens: choice.logprobs.content.map((one) => one.token),
      usage: answer.usage,
      id: answer._request_id,
    };
  },

  async completions() {
    const ask = { model: 'words', prompt: 'say some words' };
    const answer = await client.completions.create(ask);
    const chunks = await collect(await client.completions.create({ ...ask, stream: true }));
    return { text: answer.choices[0].text, streamed: chunks.map((c) => c.choices[0].text).join('') };
  },

  // Without encoding_format the client asks for base64 and decodes it.
  async embeddings() {
    const ask = { model: 'words', input: ['one', 'two words'] };
    const packed = await client.embeddings.create(ask);
    const plain = await client.embeddings.create({ ...ask, encoding_format: 'float' });
    return [packed, plain].map((answer) => answer.data.map((one) => Array.from(one.embedding)));
  },

  async stream() {
    const plain = await collect(await chat({ stream: true }));
    const asked = await collect(await chat({ stream: true, stream_options: { include_usage: true } }));
    return {
      texts: [textOf(plain), textOf(asked)],
      usages: [plain, asked].map((chunks) => chunks.filter((c) => c.usage).map((c) => c.usage)),
    };
  },

  async helper() {
    const stream = client.chat.completions.stream({ model: 'words', messages });
    const answer = await stream.finalChatCompletion();
    return answer.choices[0].message.content;
  },

  async together() {
    const ask = (i) => chat({ stream: true, messages: [{ role: 'user', content: `number ${i}` }] });
    const all = Array.from({ length: 40 }, async (_, i) => textOf(await collect(await ask(i))));
    return Promise.all(all);
  },

  async abort() {
    const stream = await chat({ stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return chunk.choices[0].delta.content;
    }
  },

  async broken() {
    return failure(chat({ stream: true }).then(collect));
  },

  async refused() {
    return failure(chat());
  },

  async missing() {
    return [
      await failure(chat({ model: 'nosuch' })),
      await failure(client.models.retrieve('nosuch')),
      await failure(chat({ messages: [] })),
    ];
  },

  async retries() {
    const answer = await connect(2).chat.completions.create({ model: 'words', messages });
    return answer.choices[0].message.content;
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
// Connections that are kept would keep the program.
process.exit(0);
