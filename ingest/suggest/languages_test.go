package suggest_test

import (
	"encoding/csv"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// Files of the same invented people with the headers and words of six languages, and the shapes
// of other systems: at least 80 in 100 columns are what they are.
func TestDraftsInSixLanguages(t *testing.T) {
	for _, file := range []struct {
		name string
		text string
		want string // the targets of the columns, in their order
	}{
		{"english", `Household ID,Line Number,First Name,Surname,Gender,Date of Birth,Relationship to Head,Marital Status,Highest Grade,Attending School,Village,Main Water Source,Roof,National ID,Mobile,Enumerator
H-1,1,Grace,Akello,Female,1988-05-17,Head,Married,Primary,No,Layibi,Borehole,Iron sheets,CF1234,+256700000201,Paul
H-1,2,Peace,Akello,Female,2012-11-03,Daughter,Never married,Primary,Yes,Layibi,Borehole,Iron sheets,,,Paul
H-2,1,Okello,Ojok,Male,1951-02-01,Head,Widowed,None,No,Pece,River,Grass,CM7777,+256700000203,Ruth
`, "households.key individuals.key individuals.given_name individuals.family_name individuals.sex individuals.date_of_birth memberships.role individuals.marital_status individuals.education_level individuals.in_school households.locality households.water_source households.roof_material individuals.identifiers.national_id_number individuals.phone_numbers -"},
		{"french", `id_menage;num_membre;nom;prenoms;sexe;date_naissance;lien_parente;etat_civil;niveau_instruction;region;village;source_eau;electricite;numero_cni;telephone;handicap
M1;1;Diallo;Awa;F;03/08/1984;Chef de ménage;Veuve;Primaire;Kayes;Diéma;Forage;Oui;A-99;+22370000001;Non
M1;2;Diallo;Moussa;M;12/12/2010;Fils;Célibataire;Primaire;Kayes;Diéma;Forage;Oui;;;Oui
M2;1;Traoré;Issa;M;25/01/1960;Chef de ménage;Marié;Aucun;Sikasso;Bougouni;Puits;Non;B-77;+22370000002;Non
`, "households.key individuals.key individuals.family_name individuals.given_name individuals.sex individuals.date_of_birth memberships.role individuals.marital_status individuals.education_level households.area_code households.locality households.water_source households.electricity_access individuals.identifiers.national_id_number individuals.phone_numbers individuals.is_disabled"},
		{"spanish", `codigo_hogar,id_persona,nombres,apellidos,sexo,fecha_nacimiento,parentesco,estado_civil,escolaridad,municipio,direccion,material_techo,material_piso,dni,celular,ingresos,moneda
77,1,María,López,Mujer,1990-02-11,Jefa,Soltera,Primaria,San José,Calle 1,Lámina,Tierra,0101-1,50255550001,1500.50,GTQ
77,2,Juan,López,Hombre,2015-06-01,Hijo,Soltero,Ninguno,San José,Calle 1,Lámina,Tierra,,,0,GTQ
78,1,Pedro,Pérez,Hombre,1970-10-30,Jefe,Casado,Primaria,San Luis,Calle 9,Teja,Cemento,0101-2,50255550002,900,GTQ
`, "households.key individuals.key individuals.given_name individuals.family_name individuals.sex individuals.date_of_birth memberships.role individuals.marital_status individuals.education_level households.area_code households.full_address households.roof_material households.floor_material individuals.identifiers.national_id_number individuals.phone_numbers individuals.income_amount individuals.income_currency"},
		{"portuguese", `numero_agregado,id_pessoa,nome_completo,sexo,data_de_nascimento,idade,grau_parentesco,estado_civil,frequenta_escola,distrito,bairro,fonte_de_agua,material_das_paredes,numero_do_bi,telemovel,deficiencia
12,12-1,Ana Machava,Feminino,1980-01-01,46,Chefe,Viúva,Não,Chibuto,Bairro 3,Rio,Caniço,110,+258840000001,Não
12,12-2,Zito Machava,Masculino,2014-04-04,12,Filho,Solteiro,Sim,Chibuto,Bairro 3,Rio,Caniço,,,Sim
13,13-1,Rosa Cossa,Feminino,1955-09-09,71,Chefe,Casada,Não,Guijá,Bairro 1,Rio,Tijolo,220,+258840000002,Não
`, "households.key individuals.key individuals.full_name individuals.sex individuals.date_of_birth individuals.date_of_birth.age memberships.role individuals.marital_status individuals.in_school households.area_code households.locality households.water_source households.wall_material individuals.identifiers.national_id_number individuals.phone_numbers individuals.is_disabled"},
		{"arabic", "\ufeff" + `رقم الأسرة,رقم الفرد,الاسم الكامل,اسم الأب,الجنس,تاريخ الميلاد,صلة القرابة,الحالة الاجتماعية,المستوى التعليمي,المحافظة,القرية,مصدر المياه,الكهرباء,الرقم الوطني,رقم الهاتف,ملاحظات
١,١-١,أمينة حسن,حسن,أنثى,١٩٨٤-٠٨-٢٣,ربة الأسرة,أرملة,ابتدائي,صنعاء,بني مطر,بئر,لا,٠١٠١١,+967770000001,
١,١-٢,علي حسن,حسن,ذكر,٢٠١٠-٠١-٠٢,ابن,أعزب,ابتدائي,صنعاء,بني مطر,بئر,لا,,,
٢,٢-١,سالم علي,علي,ذكر,١٩٦٠-١١-٣٠,رب الأسرة,متزوج,أمي,تعز,المخا,بئر,نعم,٠٢٠٢٢,+967770000002,
`, "households.key individuals.key individuals.full_name individuals.father_name individuals.sex individuals.date_of_birth memberships.role individuals.marital_status individuals.education_level households.area_code households.locality households.water_source households.electricity_access individuals.identifiers.national_id_number individuals.phone_numbers -"},
		{"swahili", `namba_ya_kaya,namba_ya_mtu,jina_kamili,jinsia,tarehe_ya_kuzaliwa,umri,uhusiano_na_mkuu_wa_kaya,hali_ya_ndoa,kiwango_cha_elimu,anasoma,wilaya,kijiji,chanzo_cha_maji,umeme,namba_ya_nida,namba_ya_simu,ulemavu
K1,K1/1,Asha Juma,Mke,1985-05-05,41,Mkuu wa kaya,Mjane,Msingi,Hapana,Kilosa,Mikumi,Bomba,Ndiyo,1985-1,+255700000001,Hapana
K1,K1/2,Juma Ali,Mme,2012-07-07,14,Mtoto,Hajaoa,Msingi,Ndiyo,Kilosa,Mikumi,Bomba,Ndiyo,,,Ndiyo
K2,K2/1,Neema John,Mke,1950-03-03,76,Mkuu wa kaya,Ameolewa,Hajasoma,Hapana,Mvomero,Turiani,Mto,Hapana,1950-2,+255700000002,Hapana
`, "households.key individuals.key individuals.full_name individuals.sex individuals.date_of_birth individuals.date_of_birth.age memberships.role individuals.marital_status individuals.education_level individuals.in_school households.area_code households.locality households.water_source households.electricity_access individuals.identifiers.national_id_number individuals.phone_numbers individuals.is_disabled"},
	} {
		t.Run(file.name, func(t *testing.T) {
			made := draft(t, annona.Standard(), sampleText(t, file.name+".csv", file.text))
			got, want := made.Columns, strings.Fields(file.want)
			right := 0
			for i, c := range got {
				if strings.TrimPrefix(want[i], "-") == c.Target {
					right++
				} else {
					t.Logf("%s is %q, want %q", c.Column, c.Target, want[i])
				}
			}
			t.Logf("%d of %d columns right: %d %%", right, len(want), 100*right/len(want))
			if len(got) != len(want) || 10*right < 8*len(want) {
				t.Errorf("%d of %d right\n%s", right, len(want), made.Mapping)
			}
		})
	}
}

// The tables of words name what there is, in the six languages, and each word of a field once.
func TestVocabulary(t *testing.T) {
	languages := map[string]map[string]bool{}
	for _, name := range []string{"words.csv", "codes.csv"} {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		rows, err := csv.NewReader(file).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			if name == "codes.csv" {
				list, ok := annona.Standard().CodeList(row[0])
				if row[0] != "bool" && (!ok || !list.Has(row[1])) {
					t.Errorf("%s: the list %s has no %s", name, row[0], row[1])
				}
				continue
			}
			if languages[row[0]] == nil {
				languages[row[0]] = map[string]bool{}
			}
			languages[row[0]][row[1]] = true
			checkTarget(t, row[0])
		}
	}
	for _, target := range []string{"households.key", "individuals.key", "individuals.full_name", "individuals.sex", "individuals.date_of_birth", "memberships.role"} {
		if got := slices.Sorted(maps.Keys(languages[target])); !slices.Equal(got, []string{"ar", "en", "es", "fr", "pt", "sw"}) {
			t.Errorf("%s is named in %v", target, got)
		}
	}
}

func checkTarget(t *testing.T, target string) {
	t.Helper()
	if strings.HasPrefix(target, "~") || slices.Contains([]string{"ignore", "survey_date", "households.key", "individuals.key", "relationships.to"}, target) {
		return
	}
	parts := strings.Split(strings.TrimPrefix(target, "list."), ".")
	if strings.HasPrefix(target, "list.") {
		parts = []string{"individuals", parts[0]}
	}
	d, ok := annona.Standard().Dataset(parts[0])
	if !ok {
		t.Errorf("there is no dataset of %s", target)
		return
	}
	if _, ok := d.Field(parts[1]); !ok {
		t.Errorf("there is no field of %s", target)
	}
}
