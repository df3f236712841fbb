export { capabilityArray, type InfoCapability, infoCapabilities } from './capabilities.js';
export { constants, Ioctl, type IoctlName } from './constants.js';
export {
  IommufdIoctl,
  type IommufdIoctlName,
  type IommufdStructName,
  iommufdConstants,
  iommufdStructs,
} from './iommufd.js';
export { decodeIovaRanges, encodeIovaRanges, type IovaRangesCall } from './iova-ranges.js';
export {
  type DecodedRegion,
  decodeDeviceInfo,
  decodeIrqInfo,
  decodeRegionInfo,
  decodeType1Info,
  type Type1Info,
} from './replies.js';
export {
  decode,
  encode,
  type Field,
  type FieldKind,
  type FieldValueOf,
  field,
  type Struct,
  type StructValues,
} from './struct.js';
export { bindTokenAt, type StructName, structs } from './structs.js';
