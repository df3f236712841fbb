import { library } from '../../tsup.shared.js';

export default library({
  index: 'src/index.ts',
  'linux/index': 'src/linux/index.ts',
  'no-backend': 'src/no-backend.ts',
});
