import { describeSnapshotter } from './snapshotter.suite.js';

describeSnapshotter('overlay');
describeSnapshotter('copy');
