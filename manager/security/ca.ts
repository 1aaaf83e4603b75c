import '../../common/reflect-metadata.js';
import { createPrivateKey, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  type PublicKey,
} from '@peculiar/x509';
import type { Clock } from '../../common/clock.js';
import { HatobaError, wrapError } from '../../common/errors.js';
import { NodeRole } from '../../proto/gen/hatoba/v1/types.js';
import { SERVER_NAMES, type NodeIdentity, type TlsIdentity } from '../../proto/wire/tls.js';

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

const DAY_MS = 86_400_000;
const ROOT_LIFE_MS = 20 * 365.25 * DAY_MS;
export const NODE_CERTIFICATE_LIFE_MS = 90 * DAY_MS;
/** Certificates count from a little before now, as the clocks of machines differ. */
const CLOCK_SKEW_MS = 3_600_000;
const MAX_ADDRESSES = 16;
/** A request for a P-256 key is below 1 kB. */
const MAX_REQUEST_CHARS = 8192;

/** The cluster's root: PEM texts. */
export interface CaKeyPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Whom a certificate is for. */
export interface CertificateSubject extends NodeIdentity {
  /** IP addresses under which the node's servers are reached, besides 127.0.0.1. */
  readonly addresses: readonly string[];
}

/** Makes the root of a new cluster: self-signed, ECDSA P-256, 20 years. */
export async function createRootCa(clusterId: string, clock: Clock): Promise<CaKeyPair> {
  const keys = await generateKeys();
  const nowMs = clock.nowMs();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ O: [clusterId] }, { CN: ['hatoba-ca'] }],
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + ROOT_LIFE_MS),
    signingAlgorithm: SIGNATURE,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: pem(certificate), keyPem: await exportKey(keys.privateKey) };
}

/**
 * Issues node certificates of one cluster: subject "O=<cluster id>, OU=hatoba-manager|hatoba-worker,
 * CN=<node id>", for servers and clients, 90 days. The names are those others check: the node id
 * and "hatoba-agent" for every node, "hatoba-manager" for managers alone.
 */
export class CertificateAuthority {
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;
  readonly #clock: Clock;

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey, clock: Clock) {
    this.#certificate = certificate;
    this.#key = key;
    this.#clock = clock;
  }

  /** @throws {HatobaError} when the texts are not a certificate and its key */
  static async load(root: CaKeyPair, clock: Clock): Promise<CertificateAuthority> {
    try {
      const der = createPrivateKey(root.keyPem).export({ type: 'pkcs8', format: 'der' });
      const key = await webcrypto.subtle.importKey('pkcs8', der, KEY_ALGORITHM, false, ['sign']);
      return new CertificateAuthority(new X509Certificate(root.certificatePem), key, clock);
    } catch (error) {
      throw wrapError(error, "the cluster's CA cannot be read");
    }
  }

  get certificatePem(): string {
    return pem(this.#certificate);
  }

  /** A new key and its certificate. */
  async issue(subject: CertificateSubject): Promise<TlsIdentity> {
    const keys = await generateKeys();
    const certPem = await this.#sign(keys.publicKey, subject);
    return { caPem: this.certificatePem, certPem, keyPem: await exportKey(keys.privateKey) };
  }

  /**
   * A certificate for the key of a request (PKCS #10, ECDSA P-256). Of the request only the key
   * counts: what the certificate says is `subject`.
   * @returns the certificate as PEM
   * @throws {HatobaError} invalid-argument when it is no request, or not signed by its own key
   */
  async issueForRequest(requestPem: string, subject: CertificateSubject): Promise<string> {
    const request = parseRequest(requestPem);
    const isSigned = await request.verify().catch(() => false);
    if (!isSigned) throw badRequest('its signature is not of its own key');
    const { name, namedCurve } = request.publicKey.algorithm as Partial<typeof KEY_ALGORITHM>;
    if (name !== KEY_ALGORITHM.name || namedCurve !== KEY_ALGORITHM.namedCurve) {
      throw badRequest('its key must be ECDSA P-256');
    }
    return this.#sign(request.publicKey, subject);
  }

  async #sign(
    publicKey: PublicKey | webcrypto.CryptoKey,
    subject: CertificateSubject,
  ): Promise<string> {
    const nowMs = this.#clock.nowMs();
    const isManager = subject.role === NodeRole.MANAGER;
    const certificate = await X509CertificateGenerator.create({
      subject: [
        { O: [subject.clusterId] },
        { OU: [isManager ? 'hatoba-manager' : 'hatoba-worker'] },
        { CN: [subject.nodeId] },
      ],
      issuer: this.#certificate.subjectName,
      notBefore: new Date(nowMs - CLOCK_SKEW_MS),
      notAfter: new Date(nowMs + NODE_CERTIFICATE_LIFE_MS),
      signingAlgorithm: SIGNATURE,
      signingKey: this.#key,
      publicKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension(alternativeNames(subject, isManager)),
      ],
    });
    return pem(certificate);
  }
}

/**
 * Addresses come from who asks, so only IP addresses are let in: a DNS name of another's choice
 * could be one that gives rights ("hatoba-manager").
 * @throws {HatobaError} invalid-argument
 */
export function checkAddresses(addresses: readonly string[]): void {
  if (addresses.length > MAX_ADDRESSES) {
    throw badRequest(`${addresses.length} addresses, at most ${MAX_ADDRESSES} are possible`);
  }
  const wrong = addresses.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw badRequest(`"${wrong.slice(0, 64)}" is not an IP address`);
}

function alternativeNames(
  subject: CertificateSubject,
  isManager: boolean,
): { type: 'dns' | 'ip'; value: string }[] {
  checkAddresses(subject.addresses);
  const names = [subject.nodeId, ...(isManager ? [SERVER_NAMES.manager] : []), SERVER_NAMES.agent];
  const addresses = new Set(['127.0.0.1', ...subject.addresses]);
  return [
    ...names.map((value) => ({ type: 'dns' as const, value })),
    ...[...addresses].map((value) => ({ type: 'ip' as const, value })),
  ];
}

function parseRequest(requestPem: string): Pkcs10CertificateRequest {
  if (requestPem.length > MAX_REQUEST_CHARS) throw badRequest('it is too long');
  try {
    return new Pkcs10CertificateRequest(requestPem);
  } catch (error) {
    throw new HatobaError('invalid-argument', 'the certificate request cannot be read', {
      cause: error,
    });
  }
}

function badRequest(what: string): HatobaError {
  return new HatobaError('invalid-argument', `the certificate request is refused: ${what}`);
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return `${PemConverter.encode(der, PemConverter.PrivateKeyTag)}\n`;
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
