/** The label that ties services and networks to their stack, as `docker stack deploy` sets it. */
export const STACK_LABEL = 'com.docker.stack.namespace';

/** Name and id of the network behind published ports in ingress mode. */
export const INGRESS_NETWORK = 'ingress';
/** Name and id of the network of services that use their node's own. */
export const HOST_NETWORK = 'host';
/** Name and id of the network of services without any. */
export const NONE_NETWORK = 'none';
