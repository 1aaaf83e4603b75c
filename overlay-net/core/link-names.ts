/** Names and numbers by which this driver knows what is its own in the kernel. */

const BRIDGE = /^hb([0-9a-f]{1,6})$/;
const VXLAN = /^hv([0-9a-f]{1,6})$/;
/** Bridge of a network of this node alone; the number is the first address of its subnet. */
const LOCAL_BRIDGE = /^hl[0-9a-f]{8}$/;

/** The host's end of a link of a sandbox. */
const SANDBOX_LINK = /^hs[0-9a-f]{12}$/;

/** Tag (first byte) of the packet and connection marks that name a peer. */
export const PEER_MARK_TAG = 0x48000000;
/** Tag of the packet marks that carry a backend's index between two nft statements. */
export const BACKEND_MARK_TAG = 0x49000000;
export const MARK_TAG_MASK = 0xff000000;

export function bridgeName(vni: number): string {
  return `hb${vni.toString(16)}`;
}

export function localBridgeName(subnetBase: number): string {
  return `hl${subnetBase.toString(16).padStart(8, '0')}`;
}

export function vxlanName(vni: number): string {
  return `hv${vni.toString(16)}`;
}

/** Whether a link of that name belongs to a network of this driver. */
export function isNetworkLink(name: string): boolean {
  return isBridgeName(name) || VXLAN.test(name);
}

export function isBridgeName(name: string): boolean {
  return BRIDGE.test(name) || LOCAL_BRIDGE.test(name);
}

export function isVxlanName(name: string): boolean {
  return VXLAN.test(name);
}

export function isSandboxLink(name: string): boolean {
  return SANDBOX_LINK.test(name);
}

/** Mark of connections that came through a peer. */
export function peerMark(nodeIndex: number): number {
  return PEER_MARK_TAG + nodeIndex;
}
