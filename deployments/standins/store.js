// Stands in for Versity's gateway: the same arguments, environment, port and /health, on s3rver. Objects are files of
// the volume, in s3rver's own layout. Where s3rver would harm a trial, this does it right: s3rver lets strangers in and
// looks at no signature of version 4, answers before an object is on disk, and lists long buckets with gaps. What neither
// does (conditional writes, chunked bodies, presigned addresses) is refused and not ignored. s3rver's page tokens need
// `node --openssl-legacy-provider`.
'use strict';
const { createHash, createHmac, randomUUID, timingSafeEqual } = require('crypto');
const { createReadStream, createWriteStream, promises: files } = require('fs');
const { dirname, join } = require('path');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const S3rver = require('s3rver');
const account = require('s3rver/lib/models/account').DUMMY_ACCOUNT;
const S3Error = require('s3rver/lib/models/error');
const S3Object = require('s3rver/lib/models/object');
const Store = require('s3rver/lib/stores/filesystem');

const { ROOT_ACCESS_KEY_ID: key, ROOT_SECRET_ACCESS_KEY: secret } = process.env;
const words = process.argv.slice(2);
const option = (name, otherwise) => (words.includes(name) ? words[words.indexOf(name) + 1] : otherwise);
if (!key || !secret || words.at(-2) !== 'posix') {
  console.error('usage: ROOT_ACCESS_KEY_ID=… ROOT_SECRET_ACCESS_KEY=… versitygw [--port :7070] [--health /health] posix FOLDER');
  process.exit(2);
}
account.revokeAccessKey('S3RVER');
account.createKeyPair(key, secret);

const hmac = (by, text) => createHmac('sha256', by).update(text).digest();

/** Whether the request carries a signature (version 4, in its headers) that this key and secret make. */
function signed(ctx) {
  const given = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
  const [, id, day, region, names, signature] = given.exec(ctx.get('authorization')) || [];
  if (id !== key || !names.split(';').includes('host')) return false;
  const at = ctx.get('x-amz-date');
  const moment = Date.parse(at.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!at.startsWith(day) || !(Math.abs(Date.now() - moment) < 15 * 60 * 1000)) return false;
  const [path, query = ''] = ctx.req.url.split(/\?(.*)/s);
  const asked = query.split('&').filter(Boolean).map((one) => (one.includes('=') ? one : `${one}=`)).sort().join('&');
  const headers = names.split(';').map((name) => `${name}:${ctx.get(name).trim().replace(/ +/g, ' ')}\n`).join('');
  const request = [ctx.method, path, asked, headers, names, ctx.get('x-amz-content-sha256')].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const digest = createHash('sha256').update(request).digest('hex');
  const by = [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${secret}`, day));
  return timingSafeEqual(hmac(by, ['AWS4-HMAC-SHA256', at, scope, digest].join('\n')), Buffer.from(signature, 'hex'));
}

/** Writes a file whole or not at all; resolves to its size and MD5 when it is on disk. */
async function written(path, content) {
  const whole = createHash('md5');
  let size = 0;
  async function* counted(chunks) {
    for await (const chunk of chunks) {
      whole.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  }
  await files.mkdir(dirname(path), { recursive: true });
  const part = `${path}.${randomUUID()}`;
  try {
    await pipeline(Buffer.isBuffer(content) ? Readable.from([content]) : content, counted, createWriteStream(part));
    const file = await files.open(part);
    await file.sync();
    await file.close();
    await files.rename(part, path);
  } finally {
    await files.rm(part, { force: true });
  }
  return { size, md5: whole.digest('hex') };
}

Object.assign(Store.prototype, {
  async putObject({ bucket, key, content, metadata }) {
    const result = await written(this.getResourcePath(bucket, key, 'object'), content);
    await this.putMetadata(bucket, key, metadata, result.md5);
    return result;
  },

  async putPart(bucket, upload, number, content) {
    const path = join(this.getResourcePath(bucket, undefined, 'uploads'), upload, String(number));
    const result = await written(path, content);
    await files.writeFile(`${path}.md5`, result.md5);
    return result;
  },

  async copyObject(fromBucket, fromKey, bucket, key, replacement) {
    const from = this.getResourcePath(fromBucket, fromKey, 'object');
    const metadata = replacement || (await this.getMetadata(fromBucket, fromKey));
    await this.putObject({ bucket, key, content: createReadStream(from), metadata });
    return this.getMetadata(bucket, key);
  },

  async listObjects(bucket, { delimiter = '', startAfter = '', prefix = '', maxKeys = Infinity }) {
    const end = '._S3rver_object';
    const found = (await files.readdir(this.getBucketPath(bucket), { recursive: true }))
      .filter((name) => name.endsWith(end))
      .map((name) => name.slice(0, -end.length))
      .filter((key) => key.startsWith(prefix) && key > startAfter)
      .sort((one, other) => (one < other ? -1 : 1));
    const cut = (key) => (delimiter ? key.indexOf(delimiter, prefix.length) : -1);
    const shared = new Set(found.filter((key) => cut(key) >= 0).map((key) => key.slice(0, cut(key) + delimiter.length)));
    const keys = found.filter((key) => cut(key) < 0);
    const read = keys.slice(0, maxKeys).map((key) =>
      this.getMetadata(bucket, key).then((metadata) => new S3Object(bucket, key, null, metadata), () => null));
    return {
      objects: (await Promise.all(read)).filter(Boolean), // without those that were deleted meanwhile
      commonPrefixes: [...shared].sort(),
      isTruncated: keys.length > maxKeys,
    };
  },
});

const beyond = (ctx) =>
  ctx.method === 'PUT' &&
  (['if-match', 'if-none-match'].some((name) => ctx.get(name)) || ctx.get('x-amz-content-sha256').startsWith('STREAMING'));

const app = new S3rver({
  directory: words.at(-1),
  address: '0.0.0.0',
  port: Number(option('--port', ':7070').split(':').pop()),
  vhostBuckets: false,
  silent: true,
});
app.middleware.unshift(async (ctx, next) => {
  if (ctx.path === option('--health', '/health')) {
    ctx.body = 'OK';
  } else if (!signed(ctx)) {
    ctx.onerror(new S3Error('AccessDenied', 'Access Denied'));
  } else if (beyond(ctx)) {
    ctx.onerror(new S3Error('NotImplemented', 'This stand-in has neither conditional writes nor chunked bodies'));
  } else {
    await next();
  }
});
app.run().then(({ address, port }) => console.log(`stand-in of versitygw (s3rver) on ${address}:${port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
