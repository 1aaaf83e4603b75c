import { HatobaError } from '../../common/errors.js';
import type {
  AttachContainerRequest,
  AttachContainerResponse,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { Session } from './session.js';

/** An address is given by the leader, and an election takes a while. */
const ATTACH_TIMEOUT_MS = 20_000;

/**
 * What the managers do for containers of this node alone. All throw HatobaErrors, `unavailable`
 * and `deadline` when no manager can be reached.
 */
export interface AttachmentCalls {
  /** Whether a call has a chance. */
  isConnected(): boolean;
  /** Gives an address, or finds the one there is and updates the rest. */
  attach(request: Omit<AttachContainerRequest, 'sessionId'>): Promise<AttachContainerResponse>;
  /** Gives back all its addresses; one that is not attached: success. */
  detach(containerId: string): Promise<void>;
  /** Gives back those of all other containers of this node. */
  keep(containerIds: readonly string[]): Promise<void>;
}

/** @param session undefined before the first one is opened */
export function attachmentCalls(
  session: () => Pick<Session, 'call' | 'isConnected'> | undefined,
): AttachmentCalls {
  const call: Session['call'] = (run, timeoutMs) => {
    const present = session();
    if (present === undefined) throw new HatobaError('unavailable', 'no manager is connected yet');
    return present.call(run, timeoutMs);
  };
  return {
    isConnected: () => session()?.isConnected ?? false,
    attach: async (request) =>
      call(
        (dispatcher, sessionId, options) =>
          dispatcher.attachContainer({ ...request, sessionId }, options),
        ATTACH_TIMEOUT_MS,
      ),
    detach: async (containerId) =>
      call((dispatcher, sessionId, options) =>
        dispatcher.detachContainer({ sessionId, containerId, networkId: '' }, options),
      ),
    keep: async (containerIds) =>
      call((dispatcher, sessionId, options) =>
        dispatcher.keepAttachments({ sessionId, containerIds: [...containerIds] }, options),
      ),
  };
}
