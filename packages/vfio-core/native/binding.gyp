{
  'targets': [
    {
      'target_name': 'vfio-core',
      'sources': [
        'addon.cc',
        'arguments.cc',
        'events.cc',
        'exit-list.cc',
        'files.cc',
        'ioctl.cc',
        'memory.cc',
        'runtime.cc',
        'sigbus.cc',
      ],
      'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")"],
      'defines': [
        'NAPI_VERSION=8',
        'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
        # Keep the templates of the C++ library in our own object files: none is linked.
        '_GLIBCXX_EXTERN_TEMPLATE=0',
      ],
      # Small rather than fast: the header-only error paths of node-addon-api would be inlined into every function.
      'cflags!': ['-O3'],
      'cflags': ['-Os', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Wno-missing-field-initializers'],
      'cflags_cc': [
        '-std=c++17',
        '-fno-exceptions',
        '-fno-rtti',
        '-fno-threadsafe-statics',
        '-fvisibility=hidden',
        '-ffunction-sections',
        '-fdata-sections',
      ],
      # libc alone: one binary then runs on every distribution since 2018. Named after our objects, so that it is asked
      # for its symbols with their versions.
      'libraries': ['-lc'],
      'ldflags': [
        '-nodefaultlibs',
        '-Wl,--gc-sections',
        '-Wl,-z,relro,-z,now',
        # The SIGBUS handler must outlive the last Worker that loaded us.
        '-Wl,-z,nodelete',
        '-Wl,--version-script=<(module_root_dir)/exports.map',
        '-s',
      ],
    },
  ],
}
