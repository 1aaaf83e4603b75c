/**
 * What nodes call the image that a spec names: "docker.io/library/nginx" is "nginx:latest", and of
 * "web:1@sha256:…" the digest alone counts.
 */
export function familiarImageName(image: string): string {
  const name = image.replace(/^(?:index\.)?docker\.io\/(?:library\/)?/, '');
  const [tagged = '', digest] = name.split('@');
  const tag = tagged.lastIndexOf(':');
  const hasTag = tag > tagged.lastIndexOf('/');
  if (digest !== undefined) return `${hasTag ? tagged.slice(0, tag) : tagged}@${digest}`;
  return hasTag ? tagged : `${tagged}:latest`;
}
