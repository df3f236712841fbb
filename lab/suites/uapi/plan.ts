import { constants, iommufdConstants, iommufdStructs, structs } from '../../../packages/vfio-core/src/uapi/index.js';
import { buildTools } from '../../src/packages.js';
import { hostPlan, type TestResult } from '../../src/suite.js';
import {
  askCompiler,
  compare,
  type Headers,
  headerLines,
  itemsOf,
  prepareHeaders,
  type Tables,
} from '../../src/uapi.js';

const tables: Tables = {
  structs: { ...structs, ...iommufdStructs },
  constants: { ...constants, ...iommufdConstants },
};

/** The tables with one wrong entry of each kind: what a check that can fail must find, and nothing else. */
const wrong: Tables = {
  structs: {
    ...tables.structs,
    vfio_group_status: { size: 12, fields: structs.vfio_group_status.fields },
    vfio_region_info: {
      size: structs.vfio_region_info.size,
      fields: { ...structs.vfio_region_info.fields, size: { offset: 12, size: 4 }, nothing: { offset: 0, size: 4 } },
    },
  },
  constants: {
    ...tables.constants,
    VFIO_DEVICE_GET_INFO: constants.VFIO_DEVICE_GET_INFO + 1,
    IOMMU_IOAS_MAP: iommufdConstants.IOMMU_IOAS_MAP + 1,
  },
};
const planted = [
  'vfio_group_status (size)',
  'vfio_region_info.size (offset)',
  'vfio_region_info.size (field size)',
  'vfio_region_info.nothing (offset)',
  'vfio_region_info.nothing (field size)',
  'VFIO_DEVICE_GET_INFO (constant)',
  'IOMMU_IOAS_MAP (constant)',
];

export default hostPlan({
  title: "our tables of the VFIO interface agree with the kernels' own headers",
  tools: buildTools,
  host: async ({ say, folder }) => {
    const headers: Headers[] = [];
    for (const line of Object.keys(headerLines)) headers.push(await prepareHeaders(line, say));
    const ask = async (some: Tables) => {
      const items = itemsOf(some);
      const answers = [];
      for (const of of headers) answers.push({ release: of.release, values: await askCompiler(items, of, folder) });
      return compare(items, answers);
    };
    const result = await ask(tables);
    const found = (await ask(wrong)).mismatches.map((text) => text.split(':')[0] as string);
    const noticed = [...new Set(found)];
    const missed = planted.filter((name) => !noticed.includes(name));
    const spurious = noticed.filter((name) => !planted.includes(name));
    const tests: TestResult[] = [
      verdict(`all ${result.confirmed + result.mismatches.length} entries known to a header agree`, result.mismatches),
      verdict('at least one entry was compared', result.confirmed > 0 ? [] : ['no header knows any entry']),
      verdict('a deliberately wrong entry of each kind is reported', [
        ...missed.map((name) => `not reported: ${name}`),
        ...(result.mismatches.length === 0 ? spurious.map((name) => `reported as well: ${name}`) : []),
      ]),
    ];
    return { kernels: headers.map(({ release }) => release), tests, fields: { ...result } };
  },
});

function verdict(title: string, complaints: readonly string[]): TestResult {
  return complaints.length === 0
    ? { status: 'passed', title }
    : { status: 'failed', title, message: complaints.join('\n') };
}
