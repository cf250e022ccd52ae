"""Every export format, read back by readers that know nothing of us, and compared with what the items make of themselves."""

import csv
import io
import json
import urllib.request
from html.parser import HTMLParser
from xml.etree import ElementTree

import feedparser
import openpyxl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from apify_client import ApifyClient

SHEET = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'
CONTENT_TYPES = {
    'json': 'application/json; charset=utf-8',
    'jsonl': 'application/jsonl; charset=utf-8',
    'csv': 'text/csv; charset=utf-8',
    'html': 'text/html; charset=utf-8',
    'xlsx': SHEET,
    'xml': 'application/xml; charset=utf-8',
    'rss': 'application/rss+xml; charset=utf-8',
    'parquet': 'application/vnd.apache.parquet',
    'arrow': 'application/vnd.apache.arrow.stream',
}


def rich_item(n):
    """An item with what formats get wrong."""
    item = {
        'n': n,
        'title': f'Item {n} <&> "quoted" \'single\'',
        'text': f'žluťoučký 漢字 😀\nsecond, line; {n}',
        '=formula': '=cmd|\'/c calc\'!A0',
        'empty': '',
        'nothing': None,
        'ok': n % 2 == 0,
        'price': n / 7,
        'big': 2**53 + n,
        'mixed': n if n % 3 else f'n/a {n}',
        'geo': {'lat': n / 3, 'deep': {'er': [n, {'x': 'y'}]}},
        'tags': [f't{k}' for k in range(n % 4)],
        '#debug': {'requestId': str(n)},
        'filler': 'lorem ipsum ' * 40,
    }
    if n % 5 == 0:
        del item['title']
    if n % 10 == 0:
        item['late column'] = '1e5'
    return item


ITEMS = [rich_item(n) for n in range(2500)]


@pytest.fixture(scope='module')
def client(server):
    return ApifyClient(server['token'], api_url=server['url'], max_retries=1)


@pytest.fixture(scope='module')
def rich(client):
    """A dataset of all items, pushed by pieces of many sizes."""
    dataset = client.dataset(client.datasets().get_or_create(name='rich').id)
    start = 0
    for size in [1, 2, 997, 1500]:
        dataset.push_items(ITEMS[start : start + size])
        start += size
    assert start == len(ITEMS)
    return dataset


@pytest.fixture
def dataset_of(client):
    def make(items):
        dataset = client.dataset(client.datasets().get_or_create().id)
        dataset.push_items(items)
        return dataset

    return make


def cells_of(value, path=''):
    """The cells of one value by path; what is empty has a cell, too."""
    if isinstance(value, dict) and value:
        below = value.items()
    elif isinstance(value, list) and value:
        below = enumerate(value)
    else:
        return {path: None if value in ({}, [], None) else value}
    return {key: cell for name, part in below for key, cell in cells_of(part, f'{path}/{name}' if path else str(name)).items()}


def table_of(items):
    """Sorted columns and the rows of them."""
    rows = [cells_of(item) for item in items]
    columns = sorted({column for row in rows for column in row})
    return columns, [[row.get(column) for column in columns] for row in rows]


def as_text(cell):
    if cell is None:
        return ''
    return cell if isinstance(cell, str) else json.dumps(cell)


def test_json_and_json_lines(rich):
    assert json.loads(rich.get_items_as_bytes(item_format='json')) == ITEMS
    lines = rich.get_items_as_bytes(item_format='jsonl').split(b'\n')
    assert lines.pop() == b''
    assert [json.loads(line) for line in lines] == ITEMS


def test_csv(rich):
    text = rich.get_items_as_bytes(item_format='csv')
    assert text.startswith(b'\xef\xbb\xbf')
    header, *rows = csv.reader(io.StringIO(text.decode('utf-8-sig'), newline=''))

    columns, expected = table_of(ITEMS)

    assert header == columns
    assert rows == [[as_text(cell) for cell in row] for row in expected]


def test_csv_of_a_view(rich):
    text = rich.get_items_as_bytes(item_format='csv', fields=['tags', 'n', 'none'], offset=3, limit=2, delimiter=';', bom=False)
    rows = list(csv.reader(io.StringIO(text.decode()), delimiter=';'))

    # An empty array has a cell of its own.
    assert rows == [['tags', 'tags/0', 'tags/1', 'tags/2', 'n', 'none'], ['', 't0', 't1', 't2', '3', ''], ['', '', '', '', '4', '']]


def test_xlsx(rich):
    book = openpyxl.load_workbook(io.BytesIO(rich.get_items_as_bytes(item_format='xlsx')), read_only=True)
    assert book.sheetnames == ['Data']
    header, *rows = book['Data'].iter_rows()

    columns, expected = table_of(ITEMS)

    assert [cell.value for cell in header] == columns
    width = len(columns)
    read = [([cell.value for cell in row] + [None] * width)[:width] for row in rows]
    # Numbers are floating point in a sheet, and an empty string is no cell.
    assert read == [[float(cell) if type(cell) is int else cell or None if cell == '' else cell for cell in row] for row in expected]
    kinds = {cell.data_type for row in rows for cell in row if cell.value is not None}
    assert kinds <= {'n', 's', 'b', 'inlineStr'}, 'no formulas'


def test_xlsx_keeps_odd_strings_and_cuts_long_ones(dataset_of):
    dataset = dataset_of([{'a': 'x' * 40_000, 'b': 'https://example.com', 'c': ' spaces ', 'd': 1e300, 'e': '007'}])
    sheet = openpyxl.load_workbook(io.BytesIO(dataset.get_items_as_bytes(item_format='xlsx')))['Data']

    header, values = [[cell.value for cell in row] for row in sheet.iter_rows()]

    assert header == ['a', 'b', 'c', 'd', 'e']
    assert float(values.pop(3)) == 1e300
    assert values == ['x' * 32_767, 'https://example.com', ' spaces ', '007']


class Table(HTMLParser):
    """The cells of a table, and the tags that there are."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_data(self, data):
        self.rows[-1][-1] += data


def test_html(rich):
    table = Table()
    table.feed(rich.get_items_as_bytes(item_format='html').decode())
    table.close()

    columns, expected = table_of(ITEMS)

    assert table.tags == {'table', 'tr', 'th', 'td'}
    assert table.rows == [columns] + [[as_text(cell) for cell in row] for row in expected]


def element_name(key):
    name = ''.join(c if c.isascii() and (c.isalnum() or c in '_.-') else '_' for c in key)
    return name if name[0].isalpha() or name[0] == '_' else f'_{name}'


def flat(values):
    for value in values:
        yield from flat(value) if isinstance(value, list) else [value]


def assert_element(element, value):
    """An element has just the children that the value makes."""
    if not isinstance(value, dict):
        assert len(element) == 0
        assert (element.text or '') == as_text(value)
        return
    expected = [(element_name(key), part) for key, parts in value.items() for part in flat([parts])]
    assert [child.tag for child in element] == [name for name, _ in expected]
    for child, (_, part) in zip(element, expected):
        assert_element(child, part)


def test_xml(rich):
    root = ElementTree.fromstring(rich.get_items_as_bytes(item_format='xml'))

    assert root.tag == 'items'
    assert {child.tag for child in root} == {'item'}
    assert len(root) == len(ITEMS)
    for element, item in zip(root, ITEMS):
        assert_element(element, item)


def test_xml_with_other_names(rich):
    root = ElementTree.fromstring(rich.get_items_as_bytes(item_format='xml', xml_root='all', xml_row='one', fields=['n'], limit=2))

    assert root.tag == 'all'
    assert [(child.tag, child[0].text) for child in root] == [('one', '0'), ('one', '1')]


def test_rss(dataset_of, client):
    items = [
        {'title': f'<b>News</b> & {n}', 'link': f'https://example.com/{n}', 'description': 'žluť', 'guid': {'@': {'isPermaLink': 'false'}, '#': f'id-{n}'}}
        for n in range(1200)
    ]
    dataset = dataset_of(items)
    info = dataset.get()

    feed = feedparser.parse(dataset.get_items_as_bytes(item_format='rss'), sanitize_html=False)

    assert not feed.bozo, feed.get('bozo_exception')
    assert feed.version == 'rss20'
    assert feed.feed.title == f'Dataset {info.name or info.id}'
    assert feed.feed.subtitle == f'Items in dataset with id "{info.id}".'
    read = [(entry.title, entry.link, entry.description, entry.id) for entry in feed.entries]
    assert read == [(item['title'], item['link'], item['description'], item['guid']['#']) for item in items]


def table_from(dataset, item_format, **view):
    data = dataset.get_items_as_bytes(item_format=item_format, **view)
    if item_format == 'arrow':
        table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    else:
        table = pa.parquet.read_table(io.BytesIO(data))
    table.validate(full=True)
    return table


def typed(item):
    """What a typed table holds of an item: all columns, and one type in each."""
    row = {name: item.get(name) for name in {**ITEMS[0], **ITEMS[1]}}
    row['mixed'] = str(row['mixed'])
    return row


@pytest.mark.parametrize('item_format', ['parquet', 'arrow'])
def test_typed_tables(rich, item_format):
    table = table_from(rich, item_format)

    rows = table.to_pylist()
    for row in rows:
        # Of an array with a number and an object every element is JSON.
        row['geo']['deep']['er'] = [json.loads(part) for part in row['geo']['deep']['er']]
    assert rows == [typed(item) for item in ITEMS]
    # In the order in which they came: the first item has no title, but a late column.
    names = list(ITEMS[0]) + ['title']
    assert table.column_names == names
    expected = {
        'n': 'int64',
        'price': 'double',
        'big': 'int64',
        'ok': 'bool',
        'mixed': 'string',
        'nothing': 'string',
        'text': 'string',
        '#debug': 'struct<requestId: string>',
    }
    assert {name: str(table.schema.field(name).type) for name in expected} == expected
    assert table.schema.field('tags').type.value_type == pa.string()


@pytest.mark.parametrize('item_format', ['parquet', 'arrow'])
def test_typed_tables_of_a_view(rich, item_format):
    table = table_from(rich, item_format, fields=['ok', 'none', 'n'], offset=2400, limit=50, desc=True)
    assert table.to_pylist() == [{'ok': n % 2 == 0, 'none': None, 'n': n} for n in range(99, 49, -1)]

    clean = table_from(rich, item_format, clean=True, limit=5)
    assert '#debug' not in clean.column_names


@pytest.mark.parametrize('item_format', ['parquet', 'arrow'])
def test_typed_tables_take_the_schema_of_the_dataset(client, item_format):
    fields = {'type': 'object', 'properties': {'name': {'type': 'string'}, 'price': {'type': 'number'}, 'sold': {'type': 'boolean'}}}
    schema = {'actorSpecification': 1, 'fields': fields, 'views': {}}
    dataset = client.dataset(client.datasets().get_or_create(name=f'schema-{item_format}', schema=schema).id)
    dataset.push_items([{'extra': 1, 'price': 1, 'name': 'x'}])

    table = table_from(dataset, item_format)

    assert [(field.name, str(field.type)) for field in table.schema] == [
        ('name', 'string'), ('price', 'double'), ('sold', 'bool'), ('extra', 'int64'),
    ]
    assert table.to_pylist() == [{'name': 'x', 'price': 1.0, 'sold': None, 'extra': 1}]


ODD_ITEMS = [
    {'': 'empty key', 'a': 1, 'A': 'other case', 'a.b': [], 'a/b': {}, '\x00\n': True},
    {'a': 2**64 - 1, 'A': None, 'list': [[1], [[]], None], 'nest': {'': {'': 0}}},
    {'a': -1.5, 'list': [], 'nest': None, 'many': [{}] * 5000 + [{'x': 1, 'y': [None]}]},
    {},
    {'\x7f <b>&': '\x01\x1f\ufffe ]]>', 'deep': json.loads('[' * 100 + ']' * 100)},
    {f'k{n}': n for n in range(2100)},
]


@pytest.mark.parametrize('item_format', CONTENT_TYPES)
@pytest.mark.parametrize('items', [[], [{}, {}], ODD_ITEMS], ids=['no', 'empty', 'odd'])
def test_any_items_can_be_read_by_everybody(dataset_of, items, item_format):
    dataset = dataset_of(items)
    data = dataset.get_items_as_bytes(item_format=item_format)

    match item_format:
        case 'json':
            assert json.loads(data) == items
        case 'jsonl':
            assert [json.loads(line) for line in data.splitlines()] == items
        case 'csv':
            assert len(list(csv.reader(io.StringIO(data.decode('utf-8-sig'), newline='')))) == (7 if items is ODD_ITEMS else 0)
        case 'html':
            Table().feed(data.decode())
        case 'xlsx':
            sheet = openpyxl.load_workbook(io.BytesIO(data))['Data']
            assert sheet.max_row == (7 if items is ODD_ITEMS else 1)
        case 'xml':
            assert len(ElementTree.fromstring(data)) == len(items)
        case 'rss':
            assert len(ElementTree.fromstring(data).findall('channel/item')) == len(items)
        case 'parquet' | 'arrow':
            table = table_from(dataset, item_format)
            if items is ODD_ITEMS:
                assert table.num_columns == 2000
                rows = table.select(['', 'a', 'A', 'list']).to_pylist()
                assert [row['a'] for row in rows] == ['1', str(2**64 - 1), '-1.5', None, None, None]
                assert [row['A'] for row in rows][:2] == ['other case', None]
                assert rows[0][''] == 'empty key'
            else:
                assert table.num_columns == 0


@pytest.mark.parametrize('item_format', CONTENT_TYPES)
def test_every_format_is_streamed_says_what_it_is_and_stays_the_same(rich, server, item_format):
    with rich.stream_items(item_format=item_format, limit=1100) as response:
        streamed = response.read()

    assert response.headers['content-type'] == CONTENT_TYPES[item_format]
    assert response.headers['x-apify-pagination-count'] == '1100'
    assert streamed == rich.get_items_as_bytes(item_format=item_format, limit=1100)
    url = f"{server['url']}/v2/datasets/{rich.get().id}/items?format={item_format}&attachment=1"
    request = urllib.request.Request(url, headers={'Authorization': f"Bearer {server['token']}"}, method='HEAD')
    with urllib.request.urlopen(request) as head:
        assert head.headers['content-type'] == CONTENT_TYPES[item_format]
        assert head.headers['content-disposition'].startswith('attachment; filename="dataset_rich_')


def test_the_client_iterates_over_all_of_them(rich):
    assert list(rich.iterate_items()) == ITEMS
    assert [item['n'] for item in rich.iterate_items(offset=990, limit=20, fields=['n'])] == list(range(990, 1010))
    visible = [{key: value for key, value in item.items() if key != '#debug'} for item in ITEMS]
    assert rich.list_items(clean=True).items == visible
