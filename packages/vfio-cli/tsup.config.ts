import { library } from '../../tsup.shared.js';

export default library({ index: 'src/index.ts', main: 'src/main.ts' }, { platform: 'node', banner: { js: '' } });
