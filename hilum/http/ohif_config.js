// Configures OHIF for the node that serves it: its own DICOMweb, wherever a proxy has put it.
(() => {
  const node = window.location.origin + window.location.pathname.replace(/\/ohif(\/.*)?$/, "");
  const dicomWeb = `${node}/dicom-web`;
  window.config = {
    name: "hilum",
    routerBasename: window.PUBLIC_URL,
    extensions: [],
    modes: [],
    customizationService: {},
    showStudyList: true,
    maxNumberOfWebWorkers: 3,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
    defaultDataSourceName: "hilum",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "hilum",
        configuration: {
          friendlyName: "Hilum",
          name: "hilum",
          qidoRoot: dicomWeb,
          wadoRoot: dicomWeb,
          wadoUriRoot: `${node}/wado`,
          qidoSupportsIncludeField: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          supportsReject: false,
          dicomUploadEnabled: true,
          staticWado: false,
          imageRendering: "wadors",
          thumbnailRendering: "thumbnail",
          thumbnailRequestStrategy: "fetch",
          enableStudyLazyLoad: true,
          singlepart: "bulkdata,video",
          bulkDataURI: { enabled: true, relativeResolution: "studies" },
          omitQuotationForMultipartRequest: true,
        },
      },
    ],
  };
})();
