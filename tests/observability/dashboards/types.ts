// What a dashboard of ours may be: Grafana's own types, with a panel's options and fields narrowed to those
// of its kind, so that an unknown or missing key is an error of the compiler.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel } from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as Stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as StateTimeline from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as Table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as TimeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

/** As JSON has it: values of enumerations as their texts. */
type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Plain<Item>[]
      : unknown extends T
        ? unknown
        : { [Key in keyof T]: Plain<T[Key]> };

/** What Grafana's data source of Prometheus reads of a query. */
type Query = {
  datasource: { type: 'prometheus'; uid: string };
  editorMode: 'code' | 'builder';
  expr: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  legendFormat: string;
  range: boolean;
  refId: string;
};

type Of<Kind extends string, Options, Custom> = Omit<Plain<Panel>, 'type' | 'options' | 'targets' | 'fieldConfig'> & {
  type: Kind;
  title: string;
  description: string;
  options: Plain<Options>;
  targets: Query[];
  fieldConfig: {
    defaults: Omit<Plain<FieldConfig>, 'custom'> & { custom?: Plain<Custom> };
    overrides: { matcher: { id: string; options?: string }; properties: { id: string; value: boolean }[] }[];
  };
};

type Panels =
  | Of<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>
  | Of<'stat', Stat.Options, never>
  | Of<'table', Table.Options, Partial<Table.FieldConfig>>
  | Of<'state-timeline', StateTimeline.Options, StateTimeline.FieldConfig>
  | Plain<RowPanel>;

export type Ours = Omit<Plain<Dashboard>, 'panels' | 'annotations'> & {
  panels: Panels[];
  annotations: { list: (Plain<AnnotationQuery> & { expr: string; titleFormat: string })[] };
};
