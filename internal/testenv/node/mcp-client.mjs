// One tool call by an official TypeScript MCP client: see TypeScriptCall in
// ../typescript.go, which runs this and says what goes in and out.
const call = JSON.parse(process.env.TYPESCRIPT_CALL)
const info = { name: 'sallyport-test', version: '1.0.0' }
const transport = {
  requestInit: { headers: call.token ? { Authorization: `Bearer ${call.token}` } : {} },
}
const answer = { version: '', tools: [], isError: false, text: '', structured: null, error: '' }

// The second generation of the client is told which revision to speak; the
// first always proposes its newest and takes what the server answers.
async function connect() {
  const url = new URL(call.url)
  if (call.package === '@modelcontextprotocol/sdk') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js')
    const client = new Client(info)
    const http = new StreamableHTTPClientTransport(url, transport)
    await client.connect(http)
    return [client, http.protocolVersion]
  }
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const options = call.version >= '2026-07-28'
    ? { versionNegotiation: { mode: { pin: call.version } } }
    : { supportedProtocolVersions: [call.version] }
  const client = new Client(info, options)
  await client.connect(new StreamableHTTPClientTransport(url, transport))
  return [client, client.getNegotiatedProtocolVersion()]
}

try {
  const [client, version] = await connect()
  answer.version = version
  answer.tools = (await client.listTools()).tools.map((tool) => tool.name)
  const result = await client.callTool({ name: call.tool, arguments: call.arguments ?? {} })
  answer.isError = result.isError ?? false
  answer.text = result.content.map((part) => part.text ?? '').join('')
  answer.structured = result.structuredContent ?? null
  await client.close()
} catch (error) {
  answer.error = `${error.name}: ${error.message}`
}
// After an error the client's stream may still be open, and would keep Node alive.
process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit())
