import type { Containers } from './api/containers.js';
import type { Images } from './api/images.js';
import type { EngineSystem } from './api/system.js';
import type { EngineVolumes } from './api/volumes.js';

export * from './api/containers.js';
export * from './api/images.js';
export * from './api/system.js';
export * from './api/volumes.js';

/**
 * The container engine of one machine: images, containers and volumes under one state folder.
 * It knows nothing of clusters or networks: a container's network is a namespace file its caller
 * made. Containers live on when the engine's process ends, and a new engine on the same folder
 * finds them again.
 */
export interface Engine extends AsyncDisposable {
  readonly images: Images;
  readonly containers: Containers;
  readonly volumes: EngineVolumes;
  readonly system: EngineSystem;
}
