// The official TypeScript client, of the older era, against a server: does one of everything and prints what it saw as JSON.
//
//     node official.mjs PACKAGES URL TOKEN PREFIX
//
// PACKAGES is the package.json next to the node_modules that holds the SDK; PREFIX goes before the names of tools and prompts.

import { createRequire } from 'node:module';

const [packages, url, token, prefix = ''] = process.argv.slice(2);
const require = createRequire(packages);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = require('@modelcontextprotocol/sdk/types.js');

const seen = { progress: [], logs: 0, updated: [], changed: 0 };
const client = new Client({ name: 'official', version: '1.0.0' }, { capabilities: { elicitation: {}, sampling: {} } });

const until = async (condition) => {
  for (let left = 400; left > 0 && !condition(); left--) await new Promise((done) => setTimeout(done, 25));
};

client.setRequestHandler(types.ElicitRequestSchema, () => ({ action: 'accept', content: { username: 'ada', email: 'ada@example.org' } }));
client.setRequestHandler(types.CreateMessageRequestSchema, () => ({
  role: 'assistant',
  model: 'none',
  content: { type: 'text', text: 'forty-two' }
}));
client.setNotificationHandler(types.LoggingMessageNotificationSchema, () => void seen.logs++);
client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, (told) => void seen.updated.push(told.params.uri));
client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => void seen.changed++);

const options = token ? { requestInit: { headers: { Authorization: `Bearer ${token}` } } } : {};
await client.connect(new StreamableHTTPClientTransport(new URL(url), options));
const call = (name, args = {}, more = {}) => client.callTool({ name: prefix + name, arguments: args }, undefined, more);

seen.tools = (await client.listTools()).tools.length;
seen.text = (await call('test_simple_text')).content[0].text;
seen.failed = (await call('test_error_handling')).isError;
await call('test_tool_with_progress', {}, { onprogress: (told) => seen.progress.push(told.progress) });
await client.setLoggingLevel('debug');
await call('test_tool_with_logging');
seen.sampled = (await call('test_sampling', { prompt: 'what is it' })).content[0].text;
seen.elicited = (await call('test_elicitation', { message: 'who' })).content[0].text;
seen.resources = (await client.listResources()).resources.map((each) => each.uri);
seen.read = (await client.readResource({ uri: 'test://template/7/data' })).contents[0].text;
seen.prompt = (await client.getPrompt({ name: prefix + 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } })).messages.length;
const ref = { type: 'ref/prompt', name: prefix + 'test_prompt_with_arguments' };
seen.completed = (await client.complete({ ref, argument: { name: 'arg1', value: 'par' } })).completion.values;
await client.subscribeResource({ uri: 'test://watched-resource' });
await call('test_touch_resource');
await until(() => seen.updated.length > 0);
await call('test_trigger_tool_change');
await until(() => seen.changed > 0);
await client.unsubscribeResource({ uri: 'test://watched-resource' });
await client.close();
console.log(JSON.stringify(seen));
process.exit(0);
